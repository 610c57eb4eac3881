"""Stage `evaluate@rK`: is the student better, and how sure are we.

The only stage beside `robustness` that reads the sealed test, and the only one that reads the hidden truth; nothing is
decided by what it finds. What was not measured is null, never 0. Letters: N images, C classes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from torch import nn

from tasks import files, held, label_scores, leaks, nearest
from tasks.core.belief import Reading
from tasks.core.calibration import ece_interval
from tasks.core.compare import compare
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
from tasks.core.neighbours import Reference
from tasks.core.predict import predict
from tasks.errors import Integrity
from tasks.images.store import Images
from tasks.label_scores import write_csv
from tasks.leaks import compute
from tasks.models import load_model
from tasks.progress import Progress
from tasks.stage import Stage

PARAMS = ("seed", "image", "label", "rounds.{key}.teacher")
NETS = ("baseline", "teacher", "student")
DIGITS = 6
INTERVALS = ("precision_low", "precision_high", "recall_low", "recall_high")
CLASS_COLUMNS = ("class", "n", "precision", "recall", "kept", "label_precision", *INTERVALS)
VOTED = "knn"  # what the labeled images nearest in the student's features say
Beliefs = dict[str, dict[str, Floats]]  # net, then image_id: probabilities (C,)


def evaluate(stage: Stage, round_: str) -> None:
    """Three nets, what is sealed and the label table in, data/scores/rK out."""
    images = Images(stage.inputs(files.IMAGES), stage.settings.cache)
    stage.input(files.SPLIT)
    stage.input(files.SEALED)
    earlier = stage.settings.rounds[round_].teacher
    before, table = (label_scores.read_labels(stage.input(files.labels(key))) for key in (earlier, round_))
    folders = dict(zip(NETS, (files.model("baseline"), files.champion(earlier), files.model(round_)), strict=True))
    read = {"teacher": (*files.NET, held.HELD)}
    nets = {role: load_model(stage.input(it, only=read.get(role, files.NET))) for role, it in folders.items()}
    classes: list[str] = files.read_json(files.SPLIT / "classes.json")
    _refuse_other_classes(folders, nets, classes)
    test, gate = _labeled(files.SEALED / "test.parquet"), _labeled(files.SPLIT / "gate.parquet")
    _refuse_leaks({"test": test, "gate": gate}, round_)

    labeled = _labeled(files.SPLIT / "labeled.parquet") if test else {}
    known = nearest.reference(stage.settings, images, nets["student"][0], labeled, classes)
    prob = _beliefs(stage, images, {role: net for role, (net, _) in nets.items()}, sorted({*test, *gate}), known)
    cards = {role: _card(folders[role], card) for role, (_, card) in nets.items()}
    truth = _labeled(files.SEALED / "truth.parquet")
    judged = label_scores.judged(table, truth)
    out, seed = stage.output(files.scores(round_)), stage.settings.seed
    summary = {
        "test": _scores(prob, test, classes, seed),
        "gate": _scores(prob, gate, classes, seed),
        "knn": _neighbours(prob, known, test, classes),
        "per_class": _write_classes(out / "per_class.csv", prob, test, judged, classes),
        "labels": label_scores.summary(len(table), judged),
        "flow": label_scores.write_flow(out, before, table, truth),
        "equal_budget": all(cards["student"][name] == cards["baseline"][name] for name in ("parameters", "steps")),
        "budget": {role: {name: cards[role][name] for name in ("parameters", "steps")} for role in NETS},
    }
    _write_predictions(out, prob, test, classes)
    reading = Reading.made(files.read_json(files.labels(round_) / files.READING))
    said_NC, given_N = held.read(folders["teacher"], classes)
    label_scores.write_coverage(out, table, truth, (reading.soft(said_NC) if len(said_NC) else said_NC, given_N))
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


def _refuse_leaks(held_out: dict[str, dict[str, str]], round_: str) -> None:
    """A held-out image that a net may have learnt from makes every number here worthless."""
    pool = files.read_table(files.SPLIT / "pool.parquet", ["image_id", "status"])
    learnt_from = {
        "the labeled images": files.read_table(files.SPLIT / "labeled.parquet", ["image_id"])["image_id"],
        "the pool": pool["image_id"].filter(compute.equal(pool["status"], "pool")),
        "the label table": leaks.learnt_of(round_),
    }
    for name, label_of in held_out.items():
        for place, learnt in learnt_from.items():
            leaks.refuse(name, pa.array(list(label_of), pa.string()), place, learnt)


def _beliefs(
    stage: Stage, images: Images, nets: dict[str, nn.Module], ids: list[str], known: Reference | None
) -> Beliefs:
    """Of each net, the probabilities (C,) of each image by id; of the neighbours in `known` the class they vote for."""
    settings = stage.settings
    found: Beliefs = {role: {} for role in (*nets, VOTED)}
    chunks = images.batches(ids, settings.image, settings.label.chunk)
    with Progress(len(ids), stage.name, "images") as progress:
        for chunk_ids, image_NCHW in chunks if ids else ():
            for role, net in nets.items():
                if role == "student" and known:
                    prob_NC, feature_ND = nearest.look(net, image_NCHW, settings.label.batch)
                    found[VOTED] |= zip(chunk_ids, known.classify(feature_ND).numpy(), strict=True)
                else:
                    prob_NC = predict(net, image_NCHW, settings.label.batch)
                found[role] |= zip(chunk_ids, prob_NC.numpy(), strict=True)
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


def _scores(prob: Beliefs, truth: dict[str, str], classes: list[str], seed: int) -> dict[str, Any] | None:
    """Every net's scores and the student's paired gains on one held-out set; null without images."""
    if not truth:
        return None
    scores: dict[str, Any] = {"n": len(truth)}
    hit: dict[str, NDArray[np.bool_]] = {}
    for role in NETS:
        prob_NC, truth_N = _arrays(prob[role], truth, classes)
        hit[role] = prob_NC.argmax(axis=1) == truth_N
        low, high = wilson(int(hit[role].sum()), len(truth))
        ece_low, ece_high = ece_interval(prob_NC, truth_N, seed)
        numbers = {
            "accuracy": accuracy(prob_NC, truth_N),
            "low": low,
            "high": high,
            "nll": negative_log_likelihood(prob_NC, truth_N),
            "ece": expected_calibration_error(prob_NC, truth_N),
            "ece_low": ece_low,
            "ece_high": ece_high,
        }
        scores[role] = {name: round(value, DIGITS) for name, value in numbers.items()}
    for role in ("teacher", "baseline"):
        scores[f"gain_over_{role}"] = compare(hit["student"], hit[role]).as_dict()
    return scores


def _neighbours(
    prob: Beliefs, known: Reference | None, test: dict[str, str], classes: list[str]
) -> dict[str, Any] | None:
    """The neighbours' vote on the test, and the student against it; null without test or labeled images."""
    if known is None or not test:
        return None
    prob_NC, truth_N = _arrays(prob["student"], test, classes)
    voted_N = np.array([prob[VOTED][image_id] for image_id in test])
    return nearest.score(known, voted_N, prob_NC.argmax(axis=1), truth_N)


def _write_predictions(out: Path, prob: Beliefs, test: dict[str, str], classes: list[str]) -> None:
    """What each net said of each test image: the report compares any two of them, `dvc plots` shows the student."""
    said = {role: [classes[int(prob[role][i].argmax())] for i in test] for role in NETS}
    columns = {"image_id": list(test), "label": list(test.values()), **said}
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    files.write_table(table, out / "predictions.parquet")
    write_csv(out / "confusion.csv", ("actual", "predicted"), zip(test.values(), said["student"], strict=True))
    bins = reliability(*_arrays(prob["student"], test, classes)) if test else []
    rounded = [(round(confidence, DIGITS), round(hit, DIGITS), n) for confidence, hit, n in bins]
    write_csv(out / "reliability.csv", ("confidence", "accuracy", "n"), rounded)


def _write_classes(
    path: Path, prob: Beliefs, test: dict[str, str], judged: pd.DataFrame, classes: list[str]
) -> dict[str, dict[str, float | None]]:
    """The student on each class with Wilson's intervals, and the labels learnt for it; blank where not measured.

    Returns recall and precision by class, for `dvc metrics`.
    """
    C = len(classes)
    confusion_CC = confusion(*_arrays(prob["student"], test, classes)) if test else np.zeros((C, C), dtype=np.int64)
    precision_C, recall_C = precision_recall(confusion_CC)
    hit_C, true_C, said_C = np.diag(confusion_CC), confusion_CC.sum(axis=1), confusion_CC.sum(axis=0)
    of_class = judged.groupby("label")["right"]
    kept = of_class.size().reindex(classes, fill_value=0)
    right = of_class.apply(lambda known: known.mean() if known.count() else np.nan).reindex(classes).astype(float)
    rows = []
    for c, name in enumerate(classes):
        shares = [_or_blank(precision_C[c]), _or_blank(recall_C[c])]
        low_high = (*_interval(hit_C[c], said_C[c]), *_interval(hit_C[c], true_C[c]))
        rows.append((name, int(true_C[c]), *shares, int(kept[name]), _or_blank(right[name]), *low_high))
    write_csv(path, CLASS_COLUMNS, rows)
    pairs = zip(classes, recall_C, precision_C, strict=True)
    return {name: {"recall": _or_null(recall), "precision": _or_null(precision)} for name, recall, precision in pairs}


def _interval(hits: int, n: int) -> tuple[float | str, float | str]:
    """Wilson's 95 % interval of a share, blank without trials."""
    low, high = wilson(int(hits), int(n))
    return (_or_blank(low), _or_blank(high)) if n else ("", "")


def _or_blank(value: float) -> float | str:
    return "" if np.isnan(value) else round(float(value), DIGITS)


def _or_null(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), DIGITS)
