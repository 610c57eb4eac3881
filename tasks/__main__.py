"""`python -m tasks STAGE [ROUND]`: what dvc.yaml calls for every stage."""

import sys

STAGES = (
    "ingest",
    "fingerprint",
    "split",
    "labeled",
    "teacher",
    "baseline",
    "label",
    "curate",
    "student",
    "evaluate",
    "report",
)

if __name__ == "__main__":
    name, key = [*sys.argv[1:], "", ""][:2]
    if name not in STAGES:
        sys.exit(f"usage: python -m tasks STAGE [ROUND], STAGE one of {', '.join(STAGES)}")
    try:
        from tasks.stage import main
    except ModuleNotFoundError as error:
        what = f"error [no_environment]: {sys.executable} has no {error.name}"
        sys.exit(f"{what}\n  fix: . .venv/bin/activate (`make run` makes it)")
    sys.exit(main(name, key))
