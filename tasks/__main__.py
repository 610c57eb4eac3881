"""`python -m tasks STAGE [ROUND]`: what dvc.yaml calls for every stage."""

import os
import sys

# Arrow's own allocator keeps what it has freed, some 70 MB of a pool of a million; it is chosen when Arrow is loaded.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
STAGES = (
    "ingest",
    "fingerprint",
    "split",
    "labeled",
    "teacher",
    "baseline",
    "label",
    "curate",
    "drift",
    "student",
    "gate",
    "champion",
    "evaluate",
    "robustness",
    "distill",
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
