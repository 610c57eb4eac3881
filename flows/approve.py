"""`understudy approve`: somebody decides about a student that waits. One row for the ledger; the gate does the rest."""

from datetime import UTC, datetime
from typing import Any

from tasks import approvals, files, ledger, yaml_file
from tasks.approvals import Answer
from tasks.errors import UserError
from tasks.params import PARAMS_FILE, Settings, load


def approve(settings: Settings, round_: str, action: str, threshold: float | None, who: str, why: str) -> list[str]:
    """Write down the decision about the student of a round that waits; what was done and what follows, in lines.

    `threshold` is what the rounds that this round's champion teaches take from then on (params.yaml). UserError, with
    everything as it was, where nobody waits, a word is missing, or the threshold cannot be.
    """
    note = _waiting(settings, round_)
    if action not in approvals.ACTIONS:
        raise UserError("unknown_action", f"{action!r} is no decision", f"choose one of {', '.join(approvals.ACTIONS)}")
    if not why.strip() or not ledger.name(who):
        raise UserError("no_reason", "a decision needs a name and a reason", 'add --why "..." and --who NAME')
    changed = [] if threshold is None else _set_threshold(settings, round_, threshold)
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    set_to = "" if threshold is None else f"{threshold:g}"
    answer = Answer(round_, note["student"], action, set_to, ledger.name(who), when, why.strip())
    approvals.append(files.APPROVALS, answer)
    becomes = f"{round_} becomes champion" if action == "promote" else f"{note['before']} stays champion"
    keep = " ".join(map(str, [files.APPROVALS, *([PARAMS_FILE] if changed else []), "dvc.lock"]))
    return [
        f"{becomes} with the next `dvc repro`, which trains {round_} no more",
        *changed,
        f"keep the row: git add {keep} && git commit",
    ]


def waiting(settings: Settings) -> list[str]:
    """The rounds whose students wait for somebody to decide."""
    return [round_ for round_ in settings.rounds if approvals.waiting(round_)]


def _waiting(settings: Settings, round_: str) -> dict[str, Any]:
    note = approvals.waiting(round_) if round_ in settings.rounds else None
    if note is None:
        now = waiting(settings)
        fix = f"waiting: {', '.join(now)}" if now else "`understudy run` goes on, and asks where there is something"
        raise UserError("not_waiting", f"the student of {round_} waits for nobody, or somebody decided already", fix)
    return note


def _set_threshold(settings: Settings, round_: str, threshold: float) -> list[str]:
    """Let the rounds that this one teaches take another threshold, in params.yaml; what was changed, in lines."""
    taught = [key for key, entry in settings.rounds.items() if entry.teacher == round_]
    if not taught:
        what = f"no round of {PARAMS_FILE} is labeled by {round_}, so there are no next labels for a threshold"
        raise UserError("no_next_labels", what, "leave the threshold out, or add a round first")
    text = before = PARAMS_FILE.read_text(encoding="utf-8")
    wanted = settings.model_dump()
    for key in taught:
        if settings.rounds[key].curate.target_precision is not None:
            what = f"rounds.{key}.curate sets target_precision, which takes the place of a threshold"
            raise UserError("threshold_unused", what, "leave the threshold out, or set target_precision: null")
        text = yaml_file.with_value(text, ["rounds", key, "curate", "threshold"], f"{threshold:g}")
        wanted["rounds"][key]["curate"]["threshold"] = float(f"{threshold:g}")
    trial = files.WORK / "params.yaml"
    trial.parent.mkdir(mode=0o700, exist_ok=True)
    trial.write_text(text, encoding="utf-8")
    try:
        shares = load(trial).model_dump() != wanted  # by an alias (`*name`); what is out of range is refused by load
    finally:
        trial.unlink()
    if shares:
        what = f"{PARAMS_FILE} shares the threshold of {', '.join(taught)} with other rounds"
        raise UserError("shared_threshold", what, "write the new threshold there yourself, then leave it out here")
    files.replace_file(PARAMS_FILE, text)
    old = ", ".join(f"rounds.{key}.curate.threshold {settings.rounds[key].curate.threshold:g}" for key in taught)
    return [f"{PARAMS_FILE}: {old} is now {threshold:g}"] if text != before else []
