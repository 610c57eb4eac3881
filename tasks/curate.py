"""Stage `curate@rK`: which pseudo-labels are trusted, one reason for every pool image. People overrule teachers."""

import math
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tasks import decisions, files
from tasks.core.curation import NO_DECISION, REASONS, REJECTED, Curated
from tasks.core.curation import curate as curate_probs
from tasks.errors import Held
from tasks.params import Curate, Round
from tasks.stage import Stage

PARAMS = ("rounds.{key}.teacher", "rounds.{key}.curate")


def curate(stage: Stage, round_: str) -> None:
    """Stored probabilities, the round's decisions and the previous table in, the label table data/labels/rK out."""
    entry = stage.settings.rounds[round_]
    stage.input(files.SPLIT)
    stage.input(files.probs(round_))
    classes: list[str] = files.read_json(files.SPLIT / "classes.json")
    pool = files.read_table(files.SPLIT / "pool.parquet").to_pandas()
    ledger = decisions.latest(stage.input(files.decisions(round_)), classes)
    previous = files.read_table(stage.input(files.labels(entry.teacher)) / "labels.parquet").to_pandas()

    ids = list(pool.loc[pool["status"] == "pool", "image_id"])
    human_N, unknown = _human_word(ids, classes, previous, ledger)
    prob_NC = _probabilities(round_, ids)
    curated = curate_probs(prob_NC, human_N, **entry.curate.model_dump(exclude={"max_share"}))
    _refuse_disasters(curated, entry.curate, round_, classes)

    table = _label_table(curated, ids, classes, round_, entry)
    excluded = pool[pool["status"] != "pool"]
    rows = pd.concat([table, _excluded(excluded)]).sort_values("image_id")
    counts = Counter(rows["reason"])
    if sum(counts.values()) != len(pool):
        raise AssertionError(f"{len(pool)} pool images, {sum(counts.values())} reasons")
    files.write_table(
        pa.Table.from_pandas(rows, schema=files.LABEL_TABLE, preserve_index=False).replace_schema_metadata(None),
        stage.output(files.labels(round_)) / "labels.parquet",
    )
    learnt = rows[rows["copies"] > 0]
    stage.summary(
        pool=len(pool),
        reasons=dict(sorted(counts.items())),
        kept=len(learnt),
        copies=int(learnt["copies"].sum()),
        per_class={name: int((learnt["label"] == name).sum()) for name in classes},
        unknown_decisions=unknown,
    )
    if unknown:
        print(f"curate@{round_}: {unknown} decisions are about images that are not in this pool; they are left alone")


def _human_word(
    ids: list[str], classes: list[str], previous: pd.DataFrame, ledger: dict[str, decisions.Decision]
) -> tuple[np.ndarray, int]:
    """What people said of each image: class index, REJECTED or NO_DECISION. Newer rounds overrule older ones.

    Also returns how many decisions are about images that are not in the pool.
    """
    by_people = previous[previous["source"] == "human"].set_index("image_id")["label"]
    words = {i: classes.index(name) if isinstance(name, str) else REJECTED for i, name in by_people.items()}
    for image_id, decision in ledger.items():
        fixed = {"reject": REJECTED, "undo": NO_DECISION}
        words[image_id] = fixed[decision.action] if decision.action in fixed else classes.index(decision.new)
    human_N = np.array([words.get(image_id, NO_DECISION) for image_id in ids], dtype=np.int64)
    return human_N, len(words.keys() - set(ids))


def _probabilities(round_: str, ids: list[str]) -> np.ndarray:
    """Rows of data/probs/rK in the order of ids, float32 NxC; joined by id."""
    table = pa.concat_tables(files.iter_tables(files.probs(round_)))
    if table["image_id"].to_pylist() != ids:
        raise AssertionError(f"data/probs/{round_} does not hold exactly the pool")
    prob_NC: np.ndarray = pc.list_flatten(table["prob"]).to_numpy().reshape(len(ids), -1)
    return prob_NC


def _label_table(curated: Curated, ids: list[str], classes: list[str], round_: str, entry: Round) -> pd.DataFrame:
    soft = entry.curate.labels == "soft"
    reason = np.array(REASONS)[curated.reason_N]
    by_people = np.char.startswith(reason, "human")
    learnt_soft = (reason == "kept") if soft else np.zeros(len(ids), dtype=bool)
    label = np.array(classes, dtype=object)[curated.label_N]
    label[reason == "human_rejected"] = None
    return pd.DataFrame(
        {
            "image_id": ids,
            "label": label,
            "confidence": curated.confidence_N,
            "soft": [row if keep else None for row, keep in zip(curated.target_NC, learnt_soft, strict=True)],
            "copies": curated.copies_N,
            "round": round_,
            "source": np.where(by_people, "human", f"teacher:{entry.teacher}"),
            "reason": reason,
        }
    )


def _excluded(pool: pd.DataFrame) -> pd.DataFrame:
    """Pool images that the split took out: their status is their reason."""
    return pd.DataFrame({"image_id": pool["image_id"], "copies": 0, "source": "", "reason": pool["status"]})


def _refuse_disasters(curated: Curated, settings: Curate, round_: str, classes: list[str]) -> None:
    """Stop before a student learns from nothing, or from one class alone (RELIABILITY 5.6)."""
    kept_N = curated.copies_N > 0
    key = f"rounds.{round_}.curate"
    if not kept_N.any():
        best = np.sort(curated.confidence_N)[::-1]
        offers = ", ".join(
            f"{best[math.ceil(len(best) * share) - 1]:.3f} would keep {share:.0%}" for share in (0.1, 0.5, 0.9)
        )
        what = f"no pseudo-label reaches {key}.threshold = {settings.threshold}; the most confident has {best[0]:.3f}"
        raise Held("no_labels_accepted", what, f"lower {key}.threshold ({offers}), or give the teacher more labels")
    share_C = np.bincount(curated.label_N[kept_N], minlength=len(classes)) / kept_N.sum()
    top = int(share_C.argmax())
    if share_C[top] > settings.max_share:
        what = f"{share_C[top]:.0%} of the kept pseudo-labels say {classes[top]!r}, {key}.max_share allows "
        what += f"{settings.max_share:.0%}: either the teacher has collapsed or the pool is that skewed"
        fix = f"if the pool really is so, raise {key}.max_share; else label more images of the other classes"
        raise Held("class_collapse", what, fix)
