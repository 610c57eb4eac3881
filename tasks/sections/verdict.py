"""Section `verdict`: did self-training help, in words, before everything else."""

from typing import Any

from tasks import files, wording
from tasks.core.compare import compare
from tasks.sections.material import Material, Scores


def section(run: Material) -> dict[str, Any]:
    """Headline, tone and sentences."""
    return wording.verdict(run.scores[run.final], _gains(run.scores))


def _gains(scores: Scores) -> dict[str, dict[str, Any]] | None:
    """The final student against the supervised-only net and the first teacher, on the same test images."""
    rounds = list(scores)
    if not scores[rounds[-1]]["test"]:
        return None
    first, last = (files.read_table(files.scores(r) / "predictions.parquet") for r in (rounds[0], rounds[-1]))
    if not first["image_id"].equals(last["image_id"]):
        raise AssertionError(f"{rounds[0]} and {rounds[-1]} were tested on different images")
    student, teacher = (
        table[role].to_numpy() == table["label"].to_numpy() for table, role in ((last, "student"), (first, "teacher"))
    )
    return {"baseline": scores[rounds[-1]]["test"]["gain_over_baseline"], "r0": compare(student, teacher).as_dict()}
