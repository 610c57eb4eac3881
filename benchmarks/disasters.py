"""Nine planted disasters, and clean runs: what is stopped, by which stage and code, and what is stopped wrongly.

Handwritten digits and the real stages, without DVC; with images for calibration and gate. Smaller nets and shorter
training than params.yaml (planted.STEPS), without `--shipped`. Resumable: each case is a JSON file in the folder given,
run again it goes on where it was.

    OMP_NUM_THREADS=1 python benchmarks/disasters.py --folder FOLDER --seeds 0 1 2 --clean 20 --json FILE
"""

import argparse
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks import planted
from benchmarks.planted import Scale, Work
from tasks import files, params

FOR_ALL = ["ingest digits", "fingerprint digits"]  # whatever the seed
TO_TEACHER = [*FOR_ALL, "split", "labeled", "teacher"]
ROUND_1 = ["label r1", "curate r1", "drift r1", "student r1", "gate r1"]
ROUND_2 = ["label r2", "curate r2", "drift r2", "student r2", "gate r2"]
Case = tuple[list[str], Callable[[Work], None], list[str]]  # stages, the disaster, stages that should not all pass
FIRST_CLEAN = 100
AFTER_SPLIT, AFTER_TEACHER = TO_TEACHER[:4], TO_TEACHER
AFTER_STUDENT = [*TO_TEACHER, *ROUND_1[:-1]]
CASES: dict[str, Case] = {
    "nothing accepted": (AFTER_TEACHER, planted.nothing_accepted, ROUND_1),
    "one-class collapse": (AFTER_TEACHER, planted.one_class_collapse, ROUND_1),
    "shuffled teacher": (AFTER_SPLIT, planted.shuffled_teacher, ["teacher", *ROUND_1]),
    "NaN": (AFTER_SPLIT, planted.not_a_number, ["teacher", *ROUND_1]),
    "half of the pool from another data set": (AFTER_TEACHER, planted.foreign_pool, ROUND_1),
    "student 3 points worse": (AFTER_STUDENT, planted.worse_student, ["gate r1"]),
    "empty class": (AFTER_TEACHER, planted.empty_class, ROUND_1),
    "leaked test image": (AFTER_TEACHER, planted.leaked_test_image, ROUND_1),
    "label flips": (AFTER_SPLIT, planted.label_flips, ["teacher", *ROUND_1]),
}


class StoppedTooEarly(Exception):
    """A project was stopped before anything was planted in it; its argument says where."""


def base(folder: Path, seed: int, stages: list[str], scale: Scale) -> Path:
    """A clean project after some stages, made once."""
    done = folder / f"base-{seed}-{len(stages)}"
    if not (done / "ready").exists():
        shutil.rmtree(done, ignore_errors=True)
        work = Work(done, seed)
        start = len(FOR_ALL) if len(stages) > len(FOR_ALL) else 0
        known = [n for n in range(start + 1, len(stages)) if (folder / f"base-{seed}-{n}" / "ready").exists()]
        if known:
            shutil.copytree(folder / f"base-{seed}-{known[-1]}", done, ignore=shutil.ignore_patterns("ready"))
        elif start:
            shutil.copytree(base(folder, 0, FOR_ALL, scale), done, ignore=shutil.ignore_patterns("ready"))
            work.edit(lambda raw: raw.update(seed=seed))
        else:
            work.make(scale)
        if stopped := work.run(stages[known[-1] if known else start :]):
            raise StoppedTooEarly(stopped)
        (done / "ready").touch()
    return done


def disaster(folder: Path, seed: int, name: str, scale: Scale) -> dict[str, Any]:
    """One disaster. Its project stays, so that other rules can be tried on it without training."""
    before, plant, then = CASES[name]
    place = folder / f"case-{seed}-{_slug(name)}"
    shutil.rmtree(place, ignore_errors=True)
    try:
        shutil.copytree(base(folder, seed, before, scale), place)
    except StoppedTooEarly as error:
        return {"case": name, "seed": seed, "stopped": True, "too_early": True, **error.args[0]}
    work = Work(place, seed)
    work.plant(plant)
    found = work.run(then)
    if not found and "gate r1" in then:
        made = work.decision("r1")
        if not made["promoted"]:
            found = {"stage": "gate@r1", "exit": 0, "code": f"hold: {', '.join(made['rules'])}", "what": ""}
        found |= {"measured": _measured(made)}
    return {"case": name, "seed": seed, "stopped": "stage" in found, **found}


def clean(folder: Path, seed: int, scale: Scale) -> dict[str, Any]:
    """Two rounds with nothing wrong: is any of it stopped, or a student held? With what is true of each student."""
    try:
        work = Work(base(folder, seed, AFTER_STUDENT, scale), seed)
    except StoppedTooEarly as error:
        return {"case": "clean", "seed": seed, "stopped": True, **error.args[0]}
    found = work.run(["gate r1", *ROUND_2])
    rounds = [r for r in ("r1", "r2") if (work.path(files.champion(r)) / files.MANIFEST).exists()]
    decisions = {r: work.decision(r) for r in rounds}
    held_back = [r for r, made in decisions.items() if not made["promoted"]]
    verdicts = {r: _measured(made) | {"truth": truth(work, r, made["before"])} for r, made in decisions.items()}
    return {"case": "clean", "seed": seed, "stopped": bool(found or held_back), "held": held_back, **found} | {
        "verdicts": verdicts
    }


def truth(work: Work, round_: str, champion: str) -> dict[str, Any]:
    """The student against the champion before on the sealed test and the pool's hidden truth, which the gate does not
    know (the student has learnt from part of the pool, with its teacher's labels). Student minus champion: accuracy,
    and the recall of each class."""

    def measure() -> int:
        from tasks.core.predict import predict
        from tasks.images.store import Images
        from tasks.models import load_model

        sealed = planted.sealed(work)
        images = Images(files.IMAGES).load(sealed["image_id"], params.load().image)
        nets = (files.model(round_), files.model(champion))
        classes: list[str] = files.read_json(nets[0] / "card.json")["classes"]
        label_N = np.array([classes.index(name) for name in sealed["label"]])
        new_N, old_N = (predict(load_model(net)[0], images, 256).argmax(dim=1).numpy() == label_N for net in nets)
        gain_N = new_N.astype(int) - old_N
        of_class = {name: float(gain_N[label_N == c].mean()) for c, name in enumerate(classes)}
        found = {"n": len(label_N), "difference": float(gain_N.mean()), "recalls": of_class}
        Path("truth.json").write_text(json.dumps(found))
        return 0

    if work.apart(measure):
        raise SystemExit((work.folder / "said.txt").read_text())
    found: dict[str, Any] = json.loads((work.folder / "truth.json").read_text())
    return found


def _measured(made: dict[str, Any]) -> dict[str, Any]:
    return {name: made[name] for name in ("verdict", "rules", "promoted", "accuracy", "resolution", "recalls")}


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())


def _line(row: dict[str, Any]) -> str:
    said = f"{row['stage']} [{row['code']}]" if row.get("stage") else ""
    for round_ in row.get("held", []):
        found = row["verdicts"][round_]
        said += f" {round_} held ({', '.join(found['rules'])}): {100 * found['accuracy']['difference']:+.1f} points, "
        said += f"in truth {100 * found['truth']['difference']:+.1f} on {found['truth']['n']} other images"
    said += " before anything was planted" * row.get("too_early", False)
    return f"{row['case']:40} seed {row['seed']:3}  {'STOPPED' if row['stopped'] else 'went on'}  {said}"


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="Where projects and results lie.")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--only", nargs="*", help="Names of disasters; all where left out.")
    parser.add_argument("--clean", type=int, default=0, help="How many clean runs.")
    parser.add_argument("--first", type=int, default=FIRST_CLEAN, help="The first seed of the clean runs.")
    parser.add_argument("--shipped", action="store_true", help="Nets and steps of params.yaml: in a folder of its own.")
    parser.add_argument("--gate", type=int, default=400, help="Images of the gate: in a folder of its own.")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    scale = Scale(args.shipped, args.gate)
    todo = [(seed, name) for seed in args.seeds for name in args.only or CASES]
    todo += [(args.first + n, "clean") for n in range(args.clean)]
    rows = []
    for seed, name in todo:
        path = folder / f"{seed}-{_slug(name)}.json"
        if not path.exists():
            row = clean(folder, seed, scale) if name == "clean" else disaster(folder, seed, name, scale)
            path.write_text(json.dumps(row, indent=1))
        rows.append(json.loads(path.read_text()))
        print(_line(rows[-1]), flush=True)
    for (name, stopped), n in sorted(Counter((row["case"], row["stopped"]) for row in rows).items()):
        print(f"{name:40} {'stopped' if stopped else 'went on'} {n}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
