"""Stage `gate@rK`: does the student of round K take its teacher's place? Judged on the images of split.gate alone.

Both nets are asked about the same images, whose labels nobody learns from; the rules are in tasks/core/gate.py. A
student that is held never labels: data/champions/rK, which the next round asks, is then the champion before, again.
What people said in data/decisions/champion.csv overrules what was measured, and both are kept. With `approval: manual`
a student that would be promoted, or about which nothing can be told, waits for a row in data/decisions/approval.csv.
"""

from typing import Any

import pyarrow as pa

from tasks import approvals, files, leaks, params, verdicts
from tasks.champions import anchor_of, crown, decision
from tasks.stage import Stage

PARAMS = ("seed", "image", "label", "gate", "approval", "rounds.{key}.teacher")
BY_VERDICT = {"promote": True, "hold": False, "not_measured": True}


def gate(stage: Stage, round_: str) -> None:
    """The champion before, the student, the gate's images and the ledger in, data/champions/rK out."""
    rules, before = stage.settings.gate, stage.settings.rounds[round_].teacher
    champion, student = stage.input(files.champion(before)), stage.input(files.model(round_))
    stage.input(files.GATE)
    word: verdicts.Word | approvals.Answer | None
    word = verdicts.by_round(verdicts.read(stage.input(files.CHAMPION_WORDS))).get(round_)
    answers = approvals.read(stage.input(files.APPROVALS))
    _refuse_leaks(stage, round_)
    old = decision(before)
    measured, right = _measure(stage, round_, before)
    passes = BY_VERDICT.get(measured["verdict"], rules.unsure == "promote")
    net = files.net_hash(student)
    is_asked = stage.settings.approval == "manual" and word is None and measured["verdict"] != "hold"
    if is_asked:
        word = approvals.about(answers, round_, net)
    promoted = word.action == "promote" if word else passes
    holds = 0 if promoted else old["holds"] + (word is None)  # what people hold does not stop the loop
    made = {
        "round": round_,
        "champion": round_ if promoted else old["champion"],
        "before": old["champion"],
        "promoted": promoted,
        "by": word.as_dict() if word else "gate",
        "holds": holds,
        "stop": holds >= rules.max_holds,
        "history": [*old["history"], {name: old[name] for name in ("round", "champion", "verdict", "promoted")}],
        "settings": rules.model_dump(),
        **measured,
    }
    if promoted and (word or measured["verdict"] != "cannot_tell"):
        made["anchor"] = round_
    if is_asked and word is None:
        raise approvals.ask(made, net, f"{stage.name}: measured: {in_words(made)}")
    approvals.note(round_).unlink(missing_ok=True)
    anchor = right if made["anchor"] != made["champion"] else None
    crown(stage, student if promoted else champion, files.champion(round_), made, anchor)
    stage.summary(**{name: made[name] for name in ("verdict", "promoted", "champion", "holds", "n")})
    print(f"{stage.name}: {said(made)}", flush=True)


def said(made: dict[str, Any]) -> str:
    """A decision in one sentence."""
    what = (
        f"{made['round']} is promoted" if made["promoted"] else f"{made['round']} is held, {made['champion']} labels on"
    )
    if isinstance(made["by"], dict):
        return f"{what}: {made['by']['who']} said so ({made['by']['why']}); measured: {made['verdict']}"
    return f"{what}: {in_words(made)}"


def in_words(made: dict[str, Any]) -> str:
    """What was measured, without what came of it."""
    if made["verdict"] == "not_measured":
        return "not measured, there are no images for it (split.gate)"
    d = made["accuracy"]
    points = f"{100 * d['difference']:+.2f} points, at least {100 * d['low']:+.2f}, at most {100 * d['high']:+.2f}"
    why = ", ".join(made["rules"])
    if "slid" in made["rules"]:
        why += f" below {made['anchor']}, the last net that was shown not to be worse than its champion, by "
        why += f"{-100 * made['since']['difference']:.2f} points, at least {-100 * made['since']['high']:.2f}"
    if made["verdict"] == "cannot_tell":
        why = f"this set cannot tell; a loss below {100 * made['resolution']:.1f} points stays unseen"
    return f"{why}; {points} on {made['n']} images"


def _refuse_leaks(stage: Stage, round_: str) -> None:
    """A gate image that the student may have learnt from makes the comparison worthless."""
    gate = files.read_table(files.GATE / "gate.parquet", ["image_id"])["image_id"]
    stage.input(files.labels(round_))
    leaks.refuse("gate", gate, files.labels(round_).as_posix(), leaks.learnt_of(round_))
    labeled = files.read_table(stage.input(files.LABELED) / "labeled.parquet", ["image_id"])["image_id"]
    leaks.refuse("gate", gate, files.LABELED.as_posix(), labeled)


def _measure(stage: Stage, round_: str, before: str) -> tuple[dict[str, Any], pa.Table | None]:
    """What the gate's images say, and which of them the anchor is right on; without any, that nothing was measured."""
    gate = files.read_table(files.GATE / "gate.parquet", ["image_id", "label"])
    truth = gate.to_pydict()
    if not truth["image_id"]:
        return {
            "verdict": "not_measured",
            "rules": ["not_measured"],
            "n": 0,
            "anchor": decision(before)["anchor"],
        }, None
    # torch and scipy take seconds to load: not where there is nothing to predict
    import numpy as np

    from tasks import held
    from tasks.core.gate import judge
    from tasks.core.predict import predict
    from tasks.images.store import Images
    from tasks.models import load_model

    settings = stage.settings
    classes: list[str] = files.read_json(files.GATE / "classes.json")
    image_NCHW = Images(files.GATE).load(truth["image_id"], settings.image)
    student_NC, champion_NC = (
        held.calibration(folder, "temperature", len(classes)).apply(
            predict(load_model(folder)[0], image_NCHW, settings.label.batch).numpy()
        )
        for folder in (files.model(round_), files.champion(before))
    )
    truth_N = np.array([classes.index(name) for name in truth["label"]])
    name, anchor = anchor_of(before, gate["image_id"])
    anchor_hit_N = None if anchor is None else anchor["right"].to_numpy()
    found = judge(student_NC, champion_NC, truth_N, _limits(settings.gate), settings.seed, anchor_hit_N).as_dict()
    for row in found["recalls"]:
        row["class"] = classes[row.pop("label")]
    if anchor is None:
        anchor = gate.select(["image_id"]).append_column("right", pa.array(champion_NC.argmax(axis=1) == truth_N))
    return {"n": len(truth_N), "anchor": name} | found, anchor


def _limits(rules: params.Gate) -> Any:
    from tasks.core.gate import Limits

    return Limits(rules.margin, rules.recall, rules.ece)
