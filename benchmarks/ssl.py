"""Self-training beside its field: one command a row, a table from what has finished.

    python benchmarks/ssl.py run --data digits --labels 50 --row noisy_student --seeds 0 1 2
    python benchmarks/ssl.py run --data cifar10 --labels 4000 --row fixmatch --seeds 0 --cifar FOLDER
    python benchmarks/ssl.py run --data digits --labels 50 --row noisy_student --pool reversed --seeds 0 1 2
    python benchmarks/ssl.py table

A finished row of a seed is one file under benchmarks/results/ssl; what is there is not computed again, and of a killed
row the nets that were finished stay under .work/ssl. Rows and budgets are in ssl_rows.py, the splits in ssl_data.py.
`ours` is the setting with the best mean accuracy on validation images among those that have run for all seeds asked; no
code looks at the test for that. All rows of a seed see the same split.
"""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
if __name__ == "ssl":
    # A script beside this one asked for the standard library's module of this name, and Python looks here first.
    import importlib

    aside = [entry for entry in sys.path if Path(entry).resolve() == FOLDER]
    sys.path[:] = [entry for entry in sys.path if entry not in aside]
    del sys.modules["ssl"]
    importlib.import_module("ssl")
    sys.path[:0] = aside
elif __name__ == "__main__":
    sys.path[0] = str(FOLDER.parent)
    from benchmarks.ssl_runs import main

    main(__doc__ or "")
