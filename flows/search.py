"""`understudy search-augment`: the last round's student under a grid of input noise, as DVC experiments.

RandAugment has two numbers, operations and magnitude (Cubuk et al. 2020, arXiv:1909.13719): their grid is the whole
search. Each pair is judged by the gate's images, against the net that labeled for all of them; never by the test. Pairs
whose experiment exists are not run again. The best of a grid looks better than it is: a table of many, its interval is
for one. So the settings stay as they are, and the gate, or `understudy seeds`, has the last word.
"""

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flows import seeds
from flows.pipeline import experiments
from flows.pipeline.ready import refuse_unready
from flows.versions import history, revision
from tasks import files
from tasks.errors import UserError
from tasks.params import load

Row = dict[str, Any]


def search(num_ops: Sequence[int], magnitude: Sequence[float], say: Callable[[str], None]) -> tuple[list[Row], int]:
    """A row a pair, the best first, and the exit code of the first that failed, 0 without one.

    UserError when there are no gate images, the project has not run yet, or it is no git repository.
    """
    settings = load()
    refuse_unready(settings)
    if not settings.split.gate:
        what = "split.gate is 0: there are no images to judge by, and the sealed test is not for choosing"
        raise UserError("no_gate", what, "set split.gate in params.yaml, then `dvc repro`")
    round_ = list(settings.rounds)[-1]
    prefix = f"augment-{seeds.digest(settings, [round_], seeds.images_here())}-"
    rows, codes = [], []
    pairs = list(itertools.product(num_ops, magnitude))
    for at, (n, m) in enumerate(pairs, 1):
        name = f"{prefix}{n}-{m:g}".replace(".", "_")
        where = f"num_ops {n}, magnitude {m:g} ({at} of {len(pairs)})"
        if not experiments.finished(name):
            say(where)
            noise = f"rounds.{round_}.student.noise"
            changes = [f"{noise}.num_ops={n}", f"{noise}.magnitude={m:g}"]
            done = experiments.run(name, changes, settings, lambda _line: None, f"gate@{round_}")
            if done.exit_code:
                codes.append(done.exit_code)
                say(f"{where} did not end: {done.message}")
                continue
        rows.append({"num_ops": n, "magnitude": m} | _judged(name, round_))
    return sorted(rows, key=lambda row: -row["gain"]), next(iter(codes), 0)


def shown(rows: list[Row]) -> list[Row]:
    """The rows as text."""
    return [
        {
            "num_ops": row["num_ops"],
            "magnitude": f"{row['magnitude']:g}",
            "against its teacher": f"{100 * row['gain']:+.2f} points",
            "interval": f"{100 * row['low']:+.2f} to {100 * row['high']:+.2f}",
            "images": row["n"],
            "experiment": row["experiment"],
        }
        for row in rows
    ]


def _judged(name: str, round_: str) -> Row:
    """What the gate of an experiment measured: accuracy against the champion before, in shares, with its interval."""
    found = experiments.finished(name)
    assert found is not None
    root = Path.cwd()
    version = revision.at(root, history.commit_of(root, found.rev), name)
    path = version.file(files.champion(round_), "gate.json")
    made = json.loads(path.read_text(encoding="utf-8")) if path else {}
    if not (gain := made.get("accuracy")):
        what = f"{name}: the gate measured nothing"
        raise UserError("no_gate", what, "bring images for it (split.gate), then `dvc repro`")
    known = {"gain": gain["difference"], "low": gain["low"], "high": gain["high"], "n": made["n"]}
    return known | {"experiment": name}
