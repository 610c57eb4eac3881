"""Section `robustness`: what each student and its teacher make of images that are worse than the test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks import figures, files, wording
from tasks.sections.material import Material, csv_rows

PLOTS = ("severity", "attacks")
NAMES = {"jpeg_compression": "JPEG"}


def section(run: Material) -> dict[str, Any]:
    """A row a round, charts and the table of corruptions of the last round; where it is off, how to switch it on."""
    found = {r: files.read_json(path / "robustness.json") for r in run.rounds if (path := _folder(run, r))}
    rounds = {round_: value for round_, value in found.items() if value}
    if not rounds:
        return {"rounds": {}}
    last, final = list(rounds.items())[-1]
    pgd_or_fgsm = final["pgd"] or final["fgsm"]
    return {
        "rounds": rounds,
        "last": last,
        "final": final,
        "verdicts": [text for text in (_errors(final), _flips(final), _attacks(final)) if text],
        "severity": _chart(run, last, "severity", "severity of the corruption", final) if final["mce"] else None,
        "attacks": _chart(run, last, "attacks", "eps (of 255)", final) if pgd_or_fgsm else None,
        "corruptions": _shown(final["mce"]),
        "shifts": _shown(final["mfr"]),
    }


def plots(run: Material) -> Iterator[tuple[str, str, Path]]:
    """What `dvc plots` shows: kind, round and file."""
    for round_ in run.rounds:
        if folder := _folder(run, round_):
            yield from ((kind, round_, folder / f"{kind}.csv") for kind in PLOTS)


def _folder(run: Material, round_: str) -> Path | None:
    return run.artefact(files.robustness(round_))


def _chart(run: Material, round_: str, kind: str, x: str, final: dict[str, Any]) -> str:
    rows = csv_rows(files.robustness(round_) / f"{kind}.csv")
    keys = ["baseline", "r0", *run.rounds]  # the order of the scoreboard, and of its colours
    across = "severity" if kind == "severity" else "eps"
    series = [
        (f"{role} {final[role]}", keys.index(final[role]), [(float(row[across]), float(row[role])) for row in rows])
        for role in ("teacher", "student")
    ]
    return figures.lines(f"robust-{kind}", series, x, "right, %")


def _shown(relative: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Corruptions or shifts, worst for the student first."""
    each = relative["each"] if relative else {}
    rows = [{"name": NAMES.get(name, name.replace("_", " ")), **values} for name, values in each.items()]
    return sorted(rows, key=lambda row: -row["student"])


def _errors(final: dict[str, Any]) -> str | None:
    if not (mce := final["mce"]):
        return None
    student, teacher = (wording.percent(1 - mce[role]) for role in ("student", "teacher"))
    shares = f"{student} of corrupted images right, its teacher {teacher}"
    return f"Corruptions: student {final['student']} gets {shares}. {_relative('mCE', mce, 'errors')}"


def _flips(final: dict[str, Any]) -> str | None:
    if not (mfr := final["mfr"]):
        return None
    shares = f"{wording.percent(mfr['student'])} of small steps, its teacher on {wording.percent(mfr['teacher'])}"
    return f"Small shifts: the student changes its mind on {shares}. {_relative('mFR', mfr, 'flips')}"


def _relative(name: str, of: dict[str, Any], what: str) -> str:
    """mCE or mFR and whether its interval leaves 100 out."""
    if of["value"] is None:
        return f"{name} is undefined: the teacher has no {what}."
    if of["low"] is None:
        return f"{name} {of['value']:.1f}; too few {what} for an interval."
    verdict = f"fewer {what}" if of["high"] < 100 else f"more {what}" if of["low"] > 100 else "within noise"
    return (
        f"{name} {of['value']:.1f} (95 % interval {of['low']:.1f} to {of['high']:.1f}; 100 is the teacher): {verdict}."
    )


def _attacks(final: dict[str, Any]) -> str | None:
    kind = "pgd" if final["pgd"] else "fgsm"
    if not final[kind]:
        return None
    worst = max(final[kind], key=lambda attack: attack["eps"])
    name = f"PGD with {final['pgd_steps']} steps" if kind == "pgd" else "FGSM"
    shares = f"{wording.percent(worst['student'])} stay right, of the teacher's {wording.percent(worst['teacher'])}"
    change, low, high = (wording.points(worst["gain"][key]) for key in ("points", "low", "high"))
    gain = f"{change} points, 95 % interval {low} to {high}: {worst['gain']['verdict']}"
    return f"Attacks: under {name} and eps {worst['eps']:g} of 255, {shares} ({gain})."
