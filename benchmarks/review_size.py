"""How long a large review takes to build, to open again, and to build when the labels have changed.

    python benchmarks/review_size.py --cifar FOLDER [--images 100000] [--folder .work/review_size] [--json FILE]

Makes a workspace of so many pool images, JPEG bytes of CIFAR-10 (train.parquet and test.parquet, each under a second id
where they do not suffice), with probabilities, labels and untrained nets of two rounds; nothing of it is measured.
Then `review --round r1 --budget 200` with `review.limit` at the number of images. Each step is a process of its own,
timed from its start, when no mongod runs: the imports and the start of mongod are in it.

- build           pictures, documents, queue, map of 5,000, the features of `review.features` images
- open again      nothing has changed: until the App has answered with its page and the first picture of the queue
- labels changed  one label of the table is another one: everything anew but the pictures and the features
"""

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tasks import files
from tasks.params import Settings, load
from tasks.review import app, database, session
from tests.review import made

ROOT = Path(__file__).resolve().parent.parent
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
STEPS = ("build", "open again", "labels changed")


def main() -> None:
    """Make the workspace, time the steps, print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cifar", type=Path, help="a folder with train.parquet and test.parquet")
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=files.WORK / "review_size")
    parser.add_argument("--prepare", action="store_true", help="make the workspace, measure nothing")
    parser.add_argument("--made", action="store_true", help="the workspace is there, by --prepare")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        step(args.step)
        return
    target = args.json.resolve() if args.json else None
    if not args.made:
        cifar = args.cifar.resolve()
        shutil.rmtree(args.folder, ignore_errors=True)
        args.folder.mkdir(parents=True)
    os.chdir(args.folder)
    if not args.made:
        workspace(cifar, args.images)
    rows = [] if args.prepare else [timed(name, args.images) for name in STEPS]
    if target:
        target.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def timed(name: str, images: int) -> dict[str, Any]:
    """A step in a process of its own, once no mongod of this folder runs any more."""
    while _mongod_runs():
        time.sleep(1)
    before = os.times()
    done = subprocess.run([sys.executable, __file__, "--step", name], check=True, stdout=subprocess.PIPE, text=True)
    *said, last = done.stdout.splitlines()
    print("\n".join(said))
    wall, after = float(last), os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    print(f"{images:,} images, {name}: {wall:.1f} s; {cpu:.1f} s of processor time without mongod", flush=True)
    row = {"name": f"{images:,} images: {name}", "metric": "seconds", "value": round(wall, 1), "unit": "s", "n": 1}
    return row | {"cpu": round(cpu, 1), "load": round(os.getloadavg()[0], 1)}


def _mongod_runs() -> bool:
    found = [p.info for p in psutil.process_iter(["name", "cmdline"]) if p.info["name"] == "mongod"]
    return any(str(Path.cwd()) in " ".join(info["cmdline"] or ()) for info in found)


def step(name: str) -> None:
    """What is timed."""
    if name == "labels changed":
        path = files.labels("r1") / "labels.parquet"
        table = files.read_table(path).to_pandas()
        table.loc[0, "label"] = next(other for other in CLASSES if other != table.loc[0, "label"])
        made.labels("r1", table)
    print(session.build("r1", load(), budget=200))
    served = _open_app() if name == "open again" else None
    print(time.time() - psutil.Process().create_time(), flush=True)
    with contextlib.redirect_stdout(sys.stderr):
        served.close() if served else None


def workspace(cifar: Path, images: int) -> None:
    """Everything `understudy review` reads, in the current folder."""
    raw: dict[str, Any] = yaml.safe_load((ROOT / "settings/cifar10.yaml").read_text(encoding="utf-8"))
    raw["review"]["limit"] = images
    raw["sources"] = {"mine": {"kind": "folder", "path": "mine"}}
    Path("params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    settings = Settings.model_validate(raw)
    encoded = _images(cifar, images)
    ids = sorted(encoded)
    made.images("mine", encoded, {image_id: f"{image_id}.jpg" for image_id in ids})
    made.split(CLASSES, dict.fromkeys(ids, "pool"), {}, {})
    rng = np.random.default_rng(0)
    for round_, teacher in (("r1", "r0"), ("r2", "r1")):
        prob_NC = rng.dirichlet(np.full(10, 0.15), images).astype(np.float32)
        made.probabilities(round_, teacher, ids, prob_NC)
        reason_N = np.where(prob_NC.max(axis=1) >= 0.5, "kept", "low_confidence").tolist()
        made.labels(round_, made.accepted(round_, teacher, ids, CLASSES, prob_NC, reason_N))
        made.net(teacher, CLASSES, 3, **settings.teacher.model_dump(exclude={"steps", "noise"}))


def _images(cifar: Path, images: int) -> dict[str, bytes]:
    tables = [pq.read_table(cifar / f"{name}.parquet", columns=["image"]) for name in ("train", "test")]
    encoded = [image["bytes"] for image in pa.concat_tables(tables)["image"].to_pylist()]
    named = ((number, encoded[number % len(encoded)]) for number in range(images))
    return {hashlib.sha256(f"{number}".encode() + data).hexdigest(): data for number, data in named}


def _open_app() -> Any:
    """From the start of the server to the first pages, the saved view's first samples among them; the session."""
    fo = database.connect()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = fo.load_dataset("understudy-r1")
    served = app.launch(fo, data, port)
    first = data.load_saved_view("review queue").first()
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for path in ("/datasets/understudy-r1", f"/media?filepath={first.filepath}"):
        asked.request("GET", path)
        answer = asked.getresponse()
        assert answer.status == 200, path
        answer.read()
    return served


if __name__ == "__main__":
    main()
