"""`python -m tasks STAGE [ROUND]`: what dvc.yaml calls for every stage."""

import sys

from tasks.stage import main

STAGES = ("ingest", "split", "teacher", "baseline", "label", "curate", "student", "evaluate", "report")

if __name__ == "__main__":
    name, key = [*sys.argv[1:], "", ""][:2]
    if name not in STAGES:
        sys.exit(f"usage: python -m tasks STAGE [ROUND], STAGE one of {', '.join(STAGES)}")
    sys.exit(main(name, key))
