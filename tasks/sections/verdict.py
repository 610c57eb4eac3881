"""Section `verdict`: did self-training help, in words, before everything else.

It speaks of the student that the gate let through last: that is the net to use. Without a gate it is the last one.
Where no student is in use the numbers are the first teacher's, and the sentences say why.
"""

from typing import Any

from tasks import files, studies, wording
from tasks.core.compare import compare
from tasks.core.seeds import Difference
from tasks.sections.material import Material, Scores


def section(run: Material) -> dict[str, Any]:
    """Headline, tone, the four numbers most asked for, and sentences."""
    champion = run.champion()
    subject = champion if champion in run.rounds else run.final
    final, gains = run.scores[subject], _gains(run.scores, subject)
    said = wording.verdict(final, gains)
    if gains and (gain := _over_seeds(run, subject)):
        said = wording.over_seeds(said, wording.net(subject), gain, final["equal_budget"])
    if champion != run.final:
        said = wording.held(said, run.final, champion)
    if champion in run.scores:
        return said | {"tiles": _tiles(final, gains)}
    test = run.scores[run.rounds[0]]["test"]
    return said | {"tiles": _measured(test["teacher"], over_baseline(run.rounds[0], "teacher")) if test else []}


def over_baseline(round_: str, role: str) -> dict[str, Any]:
    """A net of a round against the supervised-only one, image by image on the sealed test."""
    said = files.read_table(files.scores(round_) / "predictions.parquet")
    truth, mine, theirs = (said[name].to_numpy() for name in ("label", role, "baseline"))
    return compare(mine == truth, theirs == truth).as_dict()


def _measured(mine: dict[str, Any], gain: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        ("right on the test", wording.percent(mine["accuracy"]), _interval(mine, wording.percent)),
        ("points over supervised-only", wording.points(gain["points"]), _interval(gain, wording.points)),
    ]


def _tiles(final: dict[str, Any], gains: dict[str, dict[str, Any]] | None) -> list[tuple[str, str, str]]:
    """What it is, the number, how sure it is."""
    labels = final["labels"]
    tiles = _measured(final["test"]["student"], gains["baseline"]) if gains else []
    learnt = f"{wording.count(labels['kept'])} of {wording.count(labels['pool'])}"
    tiles.append(("pool images learnt from", learnt, wording.percent(labels["coverage"])))
    right, at_least = labels["precision"], labels["precision_low"]
    sure = "the pool has no hidden truth" if right is None else f"at least {wording.percent(at_least)}"
    return [*tiles, ("of these labels right", wording.percent(right), sure)]


def _interval(measured: dict[str, Any], form: Any) -> str:
    return f"{form(measured['low'])} to {form(measured['high'])}"


def _over_seeds(run: Material, subject: str) -> Difference | None:
    """What `understudy seeds` found, where it studied this very run."""
    found = studies.read(run.plain(files.SEEDS))
    measured = studies.of_round(run.scores)
    if not found or not found.agrees(run.settings.seed, measured):
        return None
    return found.gain(subject, "baseline")


def _gains(scores: Scores, subject: str) -> dict[str, dict[str, Any]] | None:
    """The student of a round against the supervised-only net and the first teacher, on the same test images."""
    if not scores[subject]["test"]:
        return None
    start = next(iter(scores))
    first, last = (files.read_table(files.scores(r) / "predictions.parquet") for r in (start, subject))
    if not first["image_id"].equals(last["image_id"]):
        raise AssertionError(f"{start} and {subject} were tested on different images")
    student, teacher = (
        table[role].to_numpy() == table["label"].to_numpy() for table, role in ((last, "student"), (first, "teacher"))
    )
    return {"baseline": scores[subject]["test"]["gain_over_baseline"], "r0": compare(student, teacher).as_dict()}
