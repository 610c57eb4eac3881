"""Stage `drift@rK`: is the pool what the labels are of, and did its labels move since the last run? Before a student
learns from them.

Nothing is trained and no image is read. An alarm holds the run (exit 4) or is only reported, as `drift.action` says;
what a held run looked at is not remembered. data/drift/rK/cleared.json names the label table that student@rK may use.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from tasks import earlier, files, leaks, outputs
from tasks.beliefs import Beliefs
from tasks.core import drift as core
from tasks.earlier import Earlier, compute
from tasks.errors import Held
from tasks.outputs import Group
from tasks.stage import Stage

PARAMS = ("seed", "drift", "sources", "rounds.{key}.teacher")
LABELED = "labeled images that it did not learn from"
HOME = "pool images of sources that bring labels"
BEFORE = "images of the run before"
FLOOR = 0.01  # of the images: less than that is nothing to hold a run for, however steady earlier runs were
USUAL = {"flips": "labels that changed", "moved": "change of the class shares", "confident": "confident outputs"}


def drift(stage: Stage, round_: str) -> None:
    """Probabilities, label table and the stage's own earlier output in, data/drift/rK out; Held on an alarm."""
    teacher = stage.settings.rounds[round_].teacher
    for path in (files.SPLIT, files.probs(round_), files.labels(round_), files.champion(teacher)):
        stage.input(path)
    for name in stage.settings.sources:
        stage.input(files.catalog(name), only=["labels.parquet"])
    classes: list[str] = files.read_json(files.SPLIT / "classes.json")
    key = _key(round_, teacher)
    before = earlier.read(round_, key, classes, stage.settings.drift.history)
    now, source = _pool(round_, classes)
    leaks.refuse_learnt(stage, "the pool", now["image_id"])
    leaks.refuse_learnt(stage, files.labels(round_).as_posix(), leaks.learnt_of(round_))
    table = earlier.joined(now, before.table)
    shifts, sample, confident = _shifts(stage, round_, classes, table, source, before)
    relabel = _relabel(stage, table, before, classes) if before.table else None
    entry = _entry(key, table, confident, relabel, len(classes)) | _seeds(stage.settings.seed, before)
    alarms = [*_shift_alarms(stage, shifts), *_relabel_alarms(stage, entry, relabel, before)]
    entry["alarms"] = sorted({alarm["what"] for alarm in alarms})
    _say(stage, shifts, relabel, alarms)

    out = stage.output(files.drift(round_))
    found = {"round": round_, "classes": classes, "shifts": shifts, "relabel": relabel, "alarms": alarms}
    found["reseeded"] = entry["reseeded"]
    found["teacher"] = {"now": sample.teacher, "before": before.sample.teacher if before.sample else None}
    files.write_json(found, out / "drift.json")
    files.write_json([*before.history, entry], out / "history.json")
    files.write_json({"labels": files.manifest_hash(files.labels(round_))}, out / "cleared.json")
    files.write_table(table, out / "pool.parquet")
    files.write_table(earlier.sample_table(sample, before.sample), out / "sample.parquet")
    farthest = max((max(found["unsure"], found["outputs"]) for found in shifts), default=None)
    shown = ("images", "accepted", "confident", "flips", "confident_flips", "moved")
    numbers = {name: entry[name] for name in shown} | {"runs": len(before.history) + 1, "alarms": len(alarms)}
    stage.summary(distance=farthest, **numbers)


def _key(round_: str, teacher: str) -> str:
    """The identity of a run: the content of what it looks at, whatever the settings and hashes behind it."""
    read = {
        files.SPLIT: ("pool.parquet", "classes.json"),
        files.probs(round_): None,
        files.labels(round_): ("labels.parquet",),
        files.champion(teacher): (*files.NET, "held.parquet"),
    }
    content = []
    for folder, names in read.items():
        entries = files.read_json(folder / files.MANIFEST)["files"]
        content += [[name, entries[name]["sha256"]] for name in sorted(entries) if names is None or name in names]
    return files.digest(content)


def _pool(round_: str, classes: list[str]) -> tuple[pa.Table, Any]:
    """image_id, label, accepted, human, percent of the images that the teacher labels, and the source of each."""
    columns = ["image_id", "label", "confidence", "copies", "source"]
    labels = files.read_table(files.labels(round_) / "labels.parquet", columns)
    pool = files.read_table(files.SPLIT / "pool.parquet", ["image_id", "status", "source"])
    if not labels["image_id"].equals(pool["image_id"]):
        raise AssertionError(f"data/labels/{round_} is not about the pool of data/split")
    ours = compute.equal(pool["status"], "pool")
    labels = labels.filter(ours).combine_chunks()
    percent = compute.round(compute.multiply(labels["confidence"], 100))
    table = {
        "image_id": labels["image_id"],
        "label": compute.index_in(labels["label"], value_set=pa.array(classes)),
        "accepted": compute.greater(labels["copies"], 0),
        "human": compute.equal(labels["source"], "human"),
        "percent": percent.cast(pa.uint8()),
    }
    return pa.table(table), pool["source"].filter(ours).combine_chunks()


def _shifts(
    stage: Stage, round_: str, classes: list[str], table: pa.Table, source: Any, before: Earlier
) -> tuple[list[dict[str, Any]], earlier.Sample, float]:
    """Every group of images against its reference; the sample for the next run; how much the teacher is sure of."""
    wanted, count = stage.settings.drift, len(classes)
    teacher = files.champion(stage.settings.rounds[round_].teacher)
    known_N = compute.is_valid(table["before_accepted"]).to_numpy() if before.table else None
    home = outputs.with_labels(list(stage.settings.sources))
    home_N = compute.is_in(source, value_set=pa.array(home, pa.string())).to_numpy(zero_copy_only=False)
    everything_N = np.ones(len(source), bool)
    order_N = outputs.order(table["image_id"].combine_chunks(), stage.settings.seed)
    groups = outputs.groups(order_N, source, known_N, count)
    rows = [
        outputs.sample(order_N, ~everything_N if known_N is None else known_N, outputs.MOST, count),
        outputs.sample(order_N, home_N, outputs.MOST, count),
        outputs.sample(order_N, everything_N, outputs.KEPT, count),
        *(group.rows for group in groups),
    ]
    (known_KC, home_KC, kept_KC, *prob_of), confident = outputs.look(Beliefs(round_, count), rows, wanted.confident)
    sample = earlier.Sample(files.net_hash(teacher), kept_KC)
    if len(known_KC) < outputs.LEAST and before.sample and before.sample.teacher == sample.teacher:
        known_KC = before.sample.prob_KC
    held = outputs.labeled(teacher, count)
    pairs = []
    for group, prob_BC in zip(groups, prob_of, strict=True):
        references = [(BEFORE, known_KC, True)] if group.new else [(LABELED, held.prob_KC, held.exact)]
        if not group.new and group.source is not None and group.source not in home:
            references.append((HOME, home_KC, True))
        pairs += [(group, prob_BC, *found) for found in references if len(found[1]) >= outputs.LEAST]
    return [_row(stage, *pair, tests=len(pairs), classes=classes) for pair in pairs], sample, confident


def _row(
    stage: Stage,
    group: Group,
    prob_BC: np.ndarray,
    against: str,
    reference_KC: np.ndarray,
    exact: bool,
    *,
    tests: int,
    classes: list[str],
) -> dict[str, Any]:
    """One comparison, and what share of the group is foreign where that is an alarm."""
    shift, wanted = core.shift(reference_KC, prob_BC), stage.settings.drift
    foreign = shift.foreign(wanted.max_shift, wanted.false_alarm, tests, exact)
    return {
        "source": group.source,
        "new": group.new,
        "images": group.images,
        "looked_at": shift.images,
        "against": against,
        "reference": shift.reference,
        "exact": exact,
        "unsure": _rounded(shift.unsure),
        "unsure_p": _rounded(shift.unsure_p),
        "outputs": _rounded(shift.outputs),
        "outputs_p": _rounded(shift.outputs_p),
        "output": classes[shift.output],
        "foreign": None if foreign is None else _rounded(foreign),
    }


def _relabel(stage: Stage, table: pa.Table, before: Earlier, classes: list[str]) -> dict[str, Any]:
    """This run's labels against those of the run before, on the images that both have."""
    common = table.filter(compute.is_valid(table["before_accepted"]))
    by_teacher = compute.invert(compute.or_(common["human"], common["before_human"]))
    said = common.filter(compute.and_(by_teacher, compute.is_valid(common["before_label"])))
    label_N, before_N = (compute.fill_null(said[name], -1).to_numpy() for name in ("label", "before_label"))
    sure_N = compute.greater(said["before_percent"], round(100 * stage.settings.drift.confident)).to_numpy()
    found = core.flips(before_N, label_N, sure_N, len(classes))
    was, now = (common[name].to_numpy() for name in ("before_accepted", "accepted"))
    assert before.table is not None
    return {
        "images": common.num_rows,
        "new": table.num_rows - common.num_rows,
        "gone": before.history[-1]["images"] - common.num_rows,
        "compared": found.images,
        "flips": found.flips,
        "confident": found.confident,
        "confident_flips": found.confident_flips,
        "accepted_before": int(was.sum()),
        "gained": int((now & ~was).sum()),
        "lost": int((was & ~now).sum()),
        "per_class": [
            {"label": name, "before": int(b), "left": int(left), "joined": int(joined)}
            for name, b, left, joined in zip(classes, found.before_C, found.left_C, found.joined_C, strict=True)
        ],
    }


def _entry(key: str, table: pa.Table, confident: float, relabel: dict[str, Any] | None, classes: int) -> dict[str, Any]:
    """The run in the history: shares, so that runs of pools of different sizes can be compared."""
    label_N = table["label"].drop_null().to_numpy()
    share_C = np.bincount(label_N, minlength=classes) / max(len(label_N), 1)
    entry: dict[str, Any] = {
        "key": key,
        "images": table.num_rows,
        "accepted": int(compute.sum(table["accepted"]).as_py() or 0),
        "confident": _rounded(confident),
        "classes": [_rounded(float(share)) for share in share_C],
        "flips": None,
        "confident_flips": None,
        "moved": None,
    }
    if relabel:
        earlier_N = table["before_label"].drop_null().to_numpy()
        before_C = np.bincount(earlier_N[earlier_N >= 0], minlength=classes) / max(len(earlier_N), 1)
        entry["flips"] = _rounded(relabel["flips"] / max(relabel["compared"], 1))
        entry["confident_flips"] = _rounded(relabel["confident_flips"] / max(relabel["confident"], 1))
        entry["moved"] = _rounded(core.moved(share_C, before_C))
    return entry


def _seeds(seed: int, before: Earlier) -> dict[str, Any]:
    """The seed of a run (of older ones: this one), and whether it changed: then other images were labeled."""
    return {"seed": seed, "reseeded": bool(before.history) and before.history[-1].get("seed", seed) != seed}


def _shift_alarms(stage: Stage, shifts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One alarm for each group that looks foreign, from the comparison that says most."""
    worst: dict[tuple[str | None, bool], dict[str, Any]] = {}
    for found in shifts:
        group = found["source"], found["new"]
        if found["foreign"] is not None and found["foreign"] > worst.get(group, {"foreign": 0})["foreign"]:
            worst[group] = found
    alarms = []
    for found in worst.values():
        name = "the pool" if found["source"] is None else f"the source {found['source']!r}"
        what = f"the new images of {name}" if found["new"] else name
        text = f"at least {found['foreign']:.0%} of {what} ({found['images']:,} images) look foreign to the teacher, "
        text += f"compared with {found['reference']:,} {found['against']} "
        text += f"(drift.max_shift allows {stage.settings.drift.max_shift:.0%})"
        alarms.append({"what": "shift", "source": found["source"], "value": found["foreign"], "text": text})
    return alarms


def _relabel_alarms(
    stage: Stage, entry: dict[str, Any], relabel: dict[str, Any] | None, before: Earlier
) -> list[dict[str, Any]]:
    """Numbers that are unusual beside the earlier runs without an alarm; until there are enough, a fixed limit.

    Across a change of the seed nothing is usual: only the fixed limit holds.
    """
    wanted, alarms = stage.settings.drift, []
    past = [run for run in before.history if not run["alarms"] and run["flips"] is not None]
    past = [run for run in past if run.get("seed", entry["seed"]) == entry["seed"] and not run.get("reseeded")]
    known = len(past) >= wanted.runs and not entry["reseeded"]
    if relabel:
        limit = wanted.max_confident_flips
        if known:
            limit = max(sum(core.usual([run["confident_flips"] for run in past])), FLOOR)
        if core.at_least(relabel["confident_flips"], relabel["confident"]) > limit:
            text = (
                f"{relabel['confident_flips']:,} of {relabel['confident']:,} labels ({entry['confident_flips']:.1%}) "
            )
            text += f"that the run before was more than {wanted.confident:.0%} sure of are others now "
            text += f"({'usual are' if known else 'drift.max_confident_flips allows'} up to {limit:.1%})"
            alarms.append({"what": "confident_flips", "source": None, "value": entry["confident_flips"], "text": text})
    for name, words in USUAL.items() if known and relabel else ():
        mean, width = core.usual([run[name] for run in past])
        if abs(entry[name] - mean) > max(width, FLOOR):
            text = f"{words}: {entry[name]:.1%}, usual are {mean:.1%} ± {width:.1%} ({len(past)} runs)"
            alarms.append({"what": name, "source": None, "value": entry[name], "text": text})
    return alarms


def _say(
    stage: Stage, shifts: list[dict[str, Any]], relabel: dict[str, Any] | None, alarms: list[dict[str, Any]]
) -> None:
    """What was seen; Held when the settings say so."""
    if not shifts:
        print(
            f"{stage.name}: nothing to compare the pool with yet; split.calib or calibrate.folds would give a reference"
        )
    if relabel:
        print(
            f"{stage.name}: {relabel['flips']:,} of {relabel['compared']:,} labels changed since the run before, "
            f"{relabel['gained']:,} newly accepted, {relabel['lost']:,} no longer; {relabel['new']:,} new images"
        )
    if not alarms:
        return
    what = "\n  ".join(["the pool or its labels moved:", *(alarm["text"] for alarm in alarms)])
    if stage.settings.drift.action == "report":
        print(f"{stage.name}: {what}")
        return
    round_ = stage.name.partition("@")[2]
    sources = sorted({repr(alarm["source"]) for alarm in alarms if alarm["source"] is not None})
    remove = f"take {' and '.join(sources)} out of sources:" if sources else "take out what does not belong"
    raise Held(
        "drift",
        f"{what}\n  no student learns from these labels",
        f"look at them with `understudy review --round {round_}` and {remove}; if all is well, raise the limit, or set "
        "drift.action: report in params.yaml",
    )


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
