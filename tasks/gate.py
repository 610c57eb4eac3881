"""Stage `gate@rK`: does the student of round K take its teacher's place? Judged on the images of split.gate alone.

Both nets are asked about the same images, whose labels nobody learns from; the rules are in tasks/core/gate.py. A
student that is held never labels: data/champions/rK, which the next round asks, is then the champion before, again.
"""

from typing import Any

from tasks import files, params
from tasks.champions import crown, decision
from tasks.stage import Stage

PARAMS = ("seed", "image", "label", "gate", "rounds.{key}.teacher")
DIGITS = 6


def gate(stage: Stage, round_: str) -> None:
    """The champion before, the student and the gate's images in, data/champions/rK out."""
    settings, before = stage.settings, stage.settings.rounds[round_].teacher
    champion, student = stage.input(files.champion(before)), stage.input(files.model(round_))
    stage.input(files.GATE)
    old = decision(before)
    measured = _measure(stage, round_, before)
    promoted = _promotes(measured["verdict"], settings.gate)
    holds = 0 if promoted else old["holds"] + 1
    past = [*old["history"], {name: old[name] for name in ("round", "champion", "verdict")}]
    made = {
        "round": round_,
        "champion": round_ if promoted else old["champion"],
        "before": old["champion"],
        "promoted": promoted,
        "holds": holds,
        "history": past,
        "settings": settings.gate.model_dump(),
        **measured,
    }
    crown(stage, student if promoted else champion, round_, made)
    stage.summary(**{name: made[name] for name in ("verdict", "promoted", "champion", "holds", "n")})
    print(f"gate@{round_}: {made['verdict']}; the champion is {made['champion']}", flush=True)


def _promotes(verdict: str, rules: params.Gate) -> bool:
    return {"promote": True, "hold": False, "not_measured": True, "cannot_tell": rules.unsure == "promote"}[verdict]


def _measure(stage: Stage, round_: str, before: str) -> dict[str, Any]:
    """What the gate's images say; without any, that nothing was measured."""
    truth = files.read_table(files.GATE / "gate.parquet", ["image_id", "label"]).to_pydict()
    if not truth["image_id"]:
        return {"verdict": "not_measured", "rules": ["not_measured"], "n": 0}
    # torch takes seconds to load: not where there is nothing to predict
    import numpy as np

    from tasks.core.gate import Limits, judge
    from tasks.core.predict import predict
    from tasks.images.store import Images
    from tasks.models import load_model

    settings = stage.settings
    classes = files.read_json(files.GATE / "classes.json")
    image_NCHW = Images(files.GATE).load(truth["image_id"], settings.image)
    student_NC, champion_NC = (
        predict(load_model(folder)[0], image_NCHW, settings.label.batch).numpy()
        for folder in (files.model(round_), files.champion(before))
    )
    truth_N = np.array([classes.index(name) for name in truth["label"]])
    limits = Limits(settings.gate.margin, settings.gate.recall, settings.gate.ece)
    found = judge(student_NC, champion_NC, truth_N, limits, settings.seed)
    return {"n": len(truth_N)} | found.as_dict()
