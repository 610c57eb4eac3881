"""data/champions/rK: the files of the net that is to label after round K, and decision.json, why it is this one.

anchor.parquet (image_id, right) says which images of the gate the anchor is right on: the last net that was shown not
to be worse than the champion before it. It is absent where that is the champion itself, or nothing was measured.
"""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks import files
from tasks.errors import Held
from tasks.stage import Stage

DECISION, ANCHOR = "decision.json", "anchor.parquet"
NOT_THE_NETS = {files.MANIFEST, files.SUMMARY, DECISION, ANCHOR}


def crown(stage: Stage, net: Path, target: Path, decision: dict[str, Any], anchor: pa.Table | None = None) -> None:
    """Stage `target` with the files of `net` (a model, or an earlier champion), the decision and the anchor.

    Its record names no inputs: a decision that comes out the same changes nothing that follows.
    """
    out = stage.output(target, origin=False)
    for path in sorted(path for path in net.iterdir() if path.name not in NOT_THE_NETS):
        shutil.copyfile(path, out / path.name)
    files.write_json(decision, out / DECISION)
    if anchor is not None:
        files.write_table(anchor, out / ANCHOR)


def decision(round_: str) -> dict[str, Any]:
    """Why the net of data/champions/rK is there: `champion` names it, `history` the rounds before."""
    value: dict[str, Any] = files.read_json(files.champion(round_) / DECISION)
    return value


def anchor_of(round_: str, gate: Any) -> tuple[str, pa.Table | None]:
    """The name of the anchor of that champion, and what it is right on; None where the champion is its own anchor.

    So it is as well where the images of the `gate` are others now than those that the anchor was asked about.
    """
    made, path = decision(round_), files.champion(round_) / ANCHOR
    if path.is_file() and (table := files.read_table(path))["image_id"].equals(gate):
        return made["anchor"], table
    return made["champion"], None


def refuse_stopped(stage: Stage, round_: str, teacher: str) -> None:
    """Held when so many students in a row were held that the loop is to stop (gate.max_holds)."""
    made = decision(teacher)
    if made["stop"]:
        what = f"{stage.name}: the students of the last {made['holds']} rounds were held by the gate (gate.max_holds), "
        what += f"the champion still is {made['champion']}: the same teacher would bring the same again"
        fix = "`dvc repro --keep-going` ends what does not wait for this, `dvc repro -s champion report` deploys the "
        fix += "champion and reports the rounds there are. To go on: more labels (split.labels, split.gate), other "
        fix += (
            f"settings for these rounds, a row `promote` in {files.CHAMPION_WORDS}, a higher gate.max_holds, or take "
        )
        fix += f"{round_} out of the rounds"
        raise Held("loop_stopped", what, fix)
