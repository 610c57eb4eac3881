"""Stage `evaluate@rK`: is the student better, and how sure are we.

The only stage that reads the sealed test and the hidden truth. What was not measured is null, never 0. Letters: N
images, C classes.
"""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from torch import nn

from tasks import files
from tasks.core.compare import compare, exact_low
from tasks.core.metrics import (
    Floats,
    Ints,
    accuracy,
    confusion,
    expected_calibration_error,
    negative_log_likelihood,
    precision_recall,
    reliability,
    wilson,
)
from tasks.core.predict import predict
from tasks.errors import Integrity
from tasks.images.store import Images
from tasks.models import load_model
from tasks.progress import Progress
from tasks.stage import Stage

PARAMS = ("image", "label", "rounds.{key}.teacher")
NETS = ("baseline", "teacher", "student")
SHOWN_IDS, DIGITS = 20, 6
Beliefs = dict[str, dict[str, Floats]]  # net, then image_id: probabilities (C,)


def evaluate(stage: Stage, round_: str) -> None:
    """Three nets, what is sealed and the label table in, data/scores/rK out."""
    images = Images(stage.inputs(files.IMAGES), stage.settings.cache)
    stage.input(files.SPLIT)
    stage.input(files.SEALED)
    table = files.read_table(stage.input(files.labels(round_)) / "labels.parquet").to_pandas()
    teacher = files.champion(stage.settings.rounds[round_].teacher)
    folders = dict(zip(NETS, (files.model("baseline"), teacher, files.model(round_)), strict=True))
    nets = {role: load_model(stage.input(folder, only=files.NET)) for role, folder in folders.items()}
    classes: list[str] = files.read_json(files.SPLIT / "classes.json")
    _refuse_other_classes(folders, nets, classes)
    test, gate = _labeled(files.SEALED / "test.parquet"), _labeled(files.SPLIT / "gate.parquet")
    _refuse_leaks({"test": test, "gate": gate}, table)

    prob = _beliefs(stage, images, {role: net for role, (net, _) in nets.items()}, sorted({*test, *gate}))
    cards = {role: _card(folders[role], card) for role, (_, card) in nets.items()}
    judged = _judged(table, _labeled(files.SEALED / "truth.parquet"))
    summary = {
        "test": _scores(prob, test, classes),
        "gate": _scores(prob, gate, classes),
        "labels": _labels(len(table), judged),
        "equal_budget": all(cards["student"][name] == cards["baseline"][name] for name in ("parameters", "steps")),
        "budget": {role: {name: cards[role][name] for name in ("parameters", "steps")} for role in NETS},
    }
    out = stage.output(files.scores(round_))
    _write_predictions(out, prob, test, classes)
    _write_classes(out / "per_class.csv", prob, test, judged, classes)
    files.write_json(summary | {"round": round_, "classes": classes, "nets": cards}, out / "scores.json")
    stage.summary(**summary)


def _labeled(path: Path) -> dict[str, str]:
    """image_id to class name."""
    table = files.read_table(path, ["image_id", "label"]).to_pydict()
    return dict(zip(table["image_id"], table["label"], strict=True))


def _refuse_other_classes(
    folders: dict[str, Path], nets: dict[str, tuple[nn.Module, dict[str, Any]]], classes: list[str]
) -> None:
    for role, (_, card) in nets.items():
        if card["classes"] != classes:
            what = f"{folders[role]} knows the classes {card['classes']}, the split has {classes}"
            raise Integrity("other_classes", what, "run `dvc repro`: the net is trained again")


def _refuse_leaks(held_out: dict[str, dict[str, str]], table: pd.DataFrame) -> None:
    """A held-out image that a net may have learnt from makes every number here worthless."""
    pool = files.read_table(files.SPLIT / "pool.parquet").to_pandas()
    learnt_from = {
        "the labeled images": set(_labeled(files.SPLIT / "labeled.parquet")),
        "the pool": set(pool.loc[pool["status"] == "pool", "image_id"]),
        "the label table": set(table.loc[table["copies"] > 0, "image_id"]),
    }
    for name, ids in held_out.items():
        for place, others in learnt_from.items():
            if leaked := sorted(set(ids) & others):
                more = f" and {len(leaked) - SHOWN_IDS} more" if len(leaked) > SHOWN_IDS else ""
                what = f"{len(leaked)} images of the {name} set are also in {place}: {', '.join(leaked[:SHOWN_IDS])}"
                fix = f"rm -r {files.SPLIT} {files.SEALED}, then `dvc repro`: the split is drawn again"
                raise Integrity("leaked_test", what + more, fix)


def _beliefs(stage: Stage, images: Images, nets: dict[str, nn.Module], ids: list[str]) -> Beliefs:
    """Of each net, the probabilities (C,) of each image by id."""
    settings = stage.settings
    found: Beliefs = {role: {} for role in nets}
    chunks = images.batches(ids, settings.image, settings.label.chunk)
    with Progress(len(ids), stage.name, "images") as progress:
        for chunk_ids, image_NCHW in chunks if ids else ():
            for role, net in nets.items():
                prob_NC = predict(net, image_NCHW, settings.label.batch).numpy()
                found[role] |= zip(chunk_ids, prob_NC, strict=True)
            progress.advance(len(chunk_ids))
    return found


def _card(folder: Path, card: dict[str, Any]) -> dict[str, Any]:
    """What the report says about a net; `artefact` is its hash, the same in data/models and data/champions."""
    return {name: card[name] for name in ("key", "net", "width", "parameters", "steps")} | {
        "artefact": files.net_hash(folder)
    }


def _arrays(prob: dict[str, Floats], truth: dict[str, str], classes: list[str]) -> tuple[Floats, Ints]:
    """Probabilities and class indices of the images that have a truth, in the order of the truth."""
    index = {name: i for i, name in enumerate(classes)}
    return np.stack([prob[i] for i in truth]), np.array([index[label] for label in truth.values()])


def _scores(prob: Beliefs, truth: dict[str, str], classes: list[str]) -> dict[str, Any] | None:
    """Every net's scores and the student's paired gains on one held-out set; null without images."""
    if not truth:
        return None
    scores: dict[str, Any] = {"n": len(truth)}
    hit: dict[str, NDArray[np.bool_]] = {}
    for role in NETS:
        prob_NC, truth_N = _arrays(prob[role], truth, classes)
        hit[role] = prob_NC.argmax(axis=1) == truth_N
        low, high = wilson(int(hit[role].sum()), len(truth))
        numbers = {
            "accuracy": accuracy(prob_NC, truth_N),
            "low": low,
            "high": high,
            "nll": negative_log_likelihood(prob_NC, truth_N),
            "ece": expected_calibration_error(prob_NC, truth_N),
        }
        scores[role] = {name: round(value, DIGITS) for name, value in numbers.items()}
    for role in ("teacher", "baseline"):
        scores[f"gain_over_{role}"] = compare(hit["student"], hit[role]).as_dict()
    return scores


def _judged(table: pd.DataFrame, truth: dict[str, str]) -> pd.DataFrame:
    """The labels learnt from; `right` is null where the truth is not known."""
    learnt = table[table["copies"] > 0]
    true = learnt["image_id"].map(truth)
    return learnt.assign(right=(learnt["label"] == true).where(true.notna()))


def _labels(pool: int, judged: pd.DataFrame) -> dict[str, Any]:
    """How much of the pool was learnt from, and how right those labels are where the truth is known."""
    right, known = int(judged["right"].sum()), int(judged["right"].count())
    return {
        "pool": pool,
        "kept": len(judged),
        "human": int((judged["source"] == "human").sum()),
        "coverage": round(len(judged) / pool, DIGITS) if pool else None,
        "precision": round(right / known, DIGITS) if known else None,
        "precision_low": round(exact_low(right, known), DIGITS) if known else None,
        "precision_n": known,
    }


def _write_predictions(out: Path, prob: Beliefs, test: dict[str, str], classes: list[str]) -> None:
    """What each net said of each test image: the report compares any two of them, `dvc plots` shows the student."""
    said = {role: [classes[int(prob[role][i].argmax())] for i in test] for role in NETS}
    columns = {"image_id": list(test), "label": list(test.values()), **said}
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    files.write_table(table, out / "predictions.parquet")
    _write_csv(out / "confusion.csv", ("actual", "predicted"), zip(test.values(), said["student"], strict=True))
    bins = reliability(*_arrays(prob["student"], test, classes)) if test else []
    rounded = [(round(confidence, DIGITS), round(hit, DIGITS), n) for confidence, hit, n in bins]
    _write_csv(out / "reliability.csv", ("confidence", "accuracy", "n"), rounded)


def _write_classes(path: Path, prob: Beliefs, test: dict[str, str], judged: pd.DataFrame, classes: list[str]) -> None:
    """The student on each class, and the labels learnt for it; blank where nothing was measured."""
    C = len(classes)
    confusion_CC = confusion(*_arrays(prob["student"], test, classes)) if test else np.zeros((C, C), dtype=np.int64)
    precision_C, recall_C = precision_recall(confusion_CC)
    of_class = judged.groupby("label")["right"]
    kept = of_class.size().reindex(classes, fill_value=0)
    right = of_class.apply(lambda known: known.mean() if known.count() else np.nan).reindex(classes).astype(float)
    rows = (
        (
            name,
            int(confusion_CC[c].sum()),
            *map(_or_blank, (precision_C[c], recall_C[c])),
            int(kept[name]),
            _or_blank(right[name]),
        )
        for c, name in enumerate(classes)
    )
    _write_csv(path, ("class", "n", "precision", "recall", "kept", "label_precision"), rows)


def _or_blank(value: float) -> float | str:
    return "" if np.isnan(value) else round(float(value), DIGITS)


def _write_csv(path: Path, header: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
