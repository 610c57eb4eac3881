"""data/champions/rK: the files of the net that is to label after round K, and decision.json, why it is this one."""

import shutil
from pathlib import Path
from typing import Any

from tasks import files
from tasks.stage import Stage

DECISION = "decision.json"
NOT_THE_NETS = {files.MANIFEST, files.SUMMARY, DECISION}


def crown(stage: Stage, net: Path, round_: str, decision: dict[str, Any]) -> None:
    """Stage data/champions/rK with the files of `net`: a model, or the champion before.

    Its record names no inputs: a decision that comes out the same changes nothing that follows.
    """
    out = stage.output(files.champion(round_), origin=False)
    for path in sorted(path for path in net.iterdir() if path.name not in NOT_THE_NETS):
        shutil.copyfile(path, out / path.name)
    files.write_json(decision, out / DECISION)


def decision(round_: str) -> dict[str, Any]:
    """Why the net of data/champions/rK is there: `champion` names it, `history` the rounds before."""
    value: dict[str, Any] = files.read_json(files.champion(round_) / DECISION)
    return value
