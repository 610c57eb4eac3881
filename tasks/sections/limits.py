"""Section `limits`: what this run does not show, and the command that would: nobody shall read more into the page."""

from typing import Any

from tasks import audit_sample, audits, files, studies, wording
from tasks.sections.drift import found_by
from tasks.sections.material import Material

FEW_HELD_OUT = 500  # below, docs/trust.md: the interval of the calibration error is wide


def section(run: Material) -> dict[str, Any] | None:
    """Sentences; None where nothing is open."""
    said = [one for ask in (_audit, _seeds, _gate, _held_out, _drift) if (one := ask(run))]
    return {"sentences": said} if said else None


def _audit(run: Material) -> str | None:
    last = next(r for r in reversed(run.rounds))
    if any(one.table == audit_sample.table_hash(last) for one in audits.read(run.plain(files.AUDIT))):
        return None
    known = run.scores[last]["labels"]["precision"] is not None
    text = f"Nobody has audited the labels of {last}: `understudy audit --round {last}` shows a blind sample."
    return text + (" Their precision above comes from hidden truth, which a real pool does not have." if known else "")


def _seeds(run: Material) -> str | None:
    found = studies.read(run.plain(files.SEEDS))
    if found and found.agrees(run.settings.seed, studies.of_round(run.scores)):
        return None
    return (
        f"This is one draw of the labels and one start of the nets (seed {run.settings.seed}); "
        "`understudy seeds --n 5` says how much of the difference is luck."
    )


def _gate(run: Material) -> str | None:
    made = run.gate().get(run.final)
    if made is None or made["verdict"] == "not_measured":
        return "No images were kept for the gate: a worse student would become teacher unseen (`split.gate`)."
    if made["verdict"] != "cannot_tell":
        return None
    return (
        f"The gate's {wording.count(made['n'])} images could not tell whether {run.final} is better than the champion "
        f"before: they see a loss from about {100 * made['resolution']:.1f} points on."
    )


def _held_out(run: Material) -> str | None:
    folder = run.artefact(files.champion(run.settings.rounds[run.final].teacher))
    path = folder / "calibration.json" if folder else None
    count = files.read_json(path)["n"] if path and path.is_file() else 0
    if not count:
        return "No labels were held out from the teachers: how sure they may be is unchecked (`split.calib`)."
    if count >= FEW_HELD_OUT:
        return None
    return f"Calibration and thresholds rest on {wording.count(count)} held-out labels: trust their intervals alone."


def _drift(run: Material) -> str | None:
    folder = run.artefact(files.drift(run.final))
    shifts = files.read_json(folder / "drift.json")["shifts"] if folder else []
    power = found_by(shifts)
    if not power or any(row["foreign"] is not None for row in shifts):
        return None
    return "That no foreign images were found proves little: i" + power[1:]
