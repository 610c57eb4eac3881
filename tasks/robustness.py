"""Stage `robustness@rK`: what a student and its teacher make of images that are worse than the test.

For the report alone: it reads sealed test images, and no decision rests on it. While it is off (`robustness.images: 0`)
nothing is read, torch stays away, and what it writes says "not measured".
"""

from typing import Any

from tasks import files
from tasks.stage import Stage

PARAMS = ("seed", "image", "label", "robustness", "rounds.{key}.teacher")
HEADERS = {"severity": "severity,teacher,student\n", "attacks": "eps,teacher,student\n"}  # of the plots


def robustness(stage: Stage, round_: str) -> None:
    """Both nets and a sample of the sealed test in, data/robustness/rK out."""
    if stage.settings.robustness.images:
        from tasks.probing import probe

        found = probe(stage, round_)
        if found is not None:
            summary, tables, results = found
            out = stage.output(files.robustness(round_))
            files.write_json(summary, out / "robustness.json")
            files.write_table(results, out / "results.parquet")
            for name, header in HEADERS.items():
                rows = "".join(",".join(map(str, row)) + "\n" for row in tables[name])
                (out / f"{name}.csv").write_text(header + rows, encoding="utf-8")
            stage.summary(**_metrics(summary))
            return
    out = stage.output(files.robustness(round_))
    files.write_json(None, out / "robustness.json")
    for name, header in HEADERS.items():
        (out / f"{name}.csv").write_text(header, encoding="utf-8")
    stage.summary(images=0, mce=None, mfr=None, fgsm=None, pgd=None)
    print(f"{stage.name}: not measured")


def _metrics(found: dict[str, Any]) -> dict[str, Any]:
    """What stands in `dvc metrics`; robustness.json has the rest."""
    names = ("value", "low", "high", "teacher", "student")
    relative = {kind: found[kind] and {name: found[kind][name] for name in names} for kind in ("mce", "mfr")}
    attacks = {
        kind: {f"eps_{it['eps']:g}": {role: it[role] for role in ("teacher", "student")} for it in found[kind]} or None
        for kind in ("fgsm", "pgd")
    }
    return {"images": found["images"], **relative, **attacks}
