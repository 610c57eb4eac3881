"""How long a large review takes to build, and to open again.

    python benchmarks/review_size.py --cifar FOLDER [--images 100000] [--folder .work/review_size] [--json FILE]

Makes a workspace of so many pool images, JPEG bytes of CIFAR-10 (train.parquet and test.parquet, some under a second
id where they do not suffice), with probabilities, labels and untrained nets of two rounds; nothing of it is measured.
Then `review --round r1 --budget 200` with `review.limit` at the number of images: building the data set (pictures,
documents, queue, map of 5,000), doing it again with nothing changed, and the App from its start to its first answer.
"""

import argparse
import hashlib
import http.client
import json
import os
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml

from tasks import decisions, files
from tasks.models import build_from, save_model
from tasks.params import Settings
from tasks.review import app, database, session

ROOT = Path(__file__).resolve().parent.parent
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
PART = 20_000


def main() -> None:
    """Make the workspace, time three things, print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cifar", type=Path, required=True, help="a folder with train.parquet and test.parquet")
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=files.WORK / "review_size")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    args = parser.parse_args()
    cifar, target = args.cifar.resolve(), args.json.resolve() if args.json else None
    shutil.rmtree(args.folder, ignore_errors=True)
    args.folder.mkdir(parents=True)
    os.chdir(args.folder)
    settings = workspace(cifar, args.images)
    seconds = {"build": _seconds(lambda: print(session.build("r1", settings, budget=200)))}
    seconds["build again"] = _seconds(lambda: print(session.build("r1", settings, budget=200)))
    seconds["App"] = _seconds(_open_app)
    rows = [
        {"name": f"{args.images:,} images: {name}", "metric": "seconds", "value": round(wall, 1), "unit": "s", "n": 1}
        | {"cpu": round(cpu, 1)}
        for name, (wall, cpu) in seconds.items()
    ]
    for row in rows:
        print(f"{row['name']}: {row['value']} s, {row['cpu']} s of this process's processor time")
    if target:
        target.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def workspace(cifar: Path, images: int) -> Settings:
    """Everything `understudy review` reads, in the current folder."""
    raw: dict[str, Any] = yaml.safe_load((ROOT / "settings/cifar10.yaml").read_text(encoding="utf-8"))
    raw["review"]["limit"] = images
    raw["sources"] = {"mine": {"kind": "folder", "path": "mine"}}
    settings = Settings.model_validate(raw)
    ids = _images(cifar, images)
    _publish(files.catalog("mine"), {"images.parquet": pa.table({"image_id": ids, "path": [f"{i}.jpg" for i in ids]})})
    nobody = pa.table({"image_id": pa.array([], pa.string()), "label": pa.array([], pa.string())})
    pool = pa.table({"image_id": ids, "status": ["pool"] * images})
    _publish(
        files.SPLIT,
        {"classes.json": CLASSES, "pool.parquet": pool, "labeled.parquet": nobody} | {"calib.parquet": nobody},
    )
    rng = np.random.default_rng(0)
    for round_, teacher in (("r1", "r0"), ("r2", "r1")):
        prob_NC = rng.dirichlet(np.full(10, 0.15), images).astype(np.float32)
        flat = pa.FixedSizeListArray.from_arrays(pa.array(prob_NC.ravel()), 10)
        _publish(
            files.probs(round_),
            {"part-00000.parquet": pa.table({"image_id": ids, "prob": flat}), "summary.json": {"teacher": teacher}},
        )
        _publish(files.labels(round_), {"labels.parquet": _labels(round_, teacher, ids, prob_NC)}, files.probs(round_))
        files.replace_file(files.decisions(round_), ",".join(decisions.HEADER) + "\n")
        spec = settings.teacher.model_dump(exclude={"steps", "noise"})
        card = spec | {"channels": 3, "classes": CLASSES, "key": teacher}
        torch.manual_seed(0)
        staged = files.WORK / "net"
        staged.mkdir(parents=True)
        save_model(staged, build_from(card), card)
        files.seal(staged, {"stage": "made"})
        files.move_into_place(staged, files.champion(teacher))
    return settings


def _images(cifar: Path, images: int) -> list[str]:
    tables = [pq.read_table(cifar / f"{name}.parquet", columns=["image"]) for name in ("train", "test")]
    encoded = [image["bytes"] for image in pa.concat_tables(tables)["image"].to_pylist()]
    every = {}
    for number in range(images):
        data = encoded[number % len(encoded)]
        every[hashlib.sha256(data + str(number // len(encoded)).encode()).hexdigest()] = data
        if len(every) < number + 1:  # CIFAR holds some pictures twice
            every[hashlib.sha256(data + f"again {number}".encode()).hexdigest()] = data
    ids = sorted(every)
    staged = files.WORK / "images"
    staged.mkdir(parents=True)
    for index, start in enumerate(range(0, images, PART)):
        some = ids[start : start + PART]
        part = pa.table({"image_id": some, "bytes": pa.array([every[i] for i in some], pa.binary())})
        files.write_images(part, staged / f"part-{index:05d}.parquet")
    files.seal(staged, {"stage": "made", "inputs": {}})
    files.move_into_place(staged, files.images("mine"))
    return ids


def _labels(round_: str, teacher: str, ids: list[str], prob_NC: np.ndarray) -> pa.Table:
    confidence_N, kept_N = prob_NC.max(axis=1), prob_NC.max(axis=1) >= 0.5
    columns: dict[str, Any] = {name: [None] * len(ids) for name in files.LABEL_TABLE.names}
    columns |= {"image_id": ids, "label": np.array(CLASSES)[prob_NC.argmax(axis=1)].tolist()}
    columns |= {"confidence": confidence_N.tolist(), "copies": kept_N.astype(int).tolist()}
    columns |= {"round": [round_] * len(ids), "source": [f"teacher:{teacher}"] * len(ids)}
    columns |= {"reason": np.where(kept_N, "kept", "low_confidence").tolist()}
    return pa.table(columns, schema=files.LABEL_TABLE)


def _publish(target: Path, content: dict[str, Any], made_from: Path | None = None) -> None:
    staged = files.WORK / "staged"
    staged.mkdir(parents=True)
    for name, value in content.items():
        if isinstance(value, pa.Table):
            files.write_table(value, staged / name)
        else:
            files.write_json(value, staged / name)
    inputs = {made_from.as_posix(): files.manifest_hash(made_from)} if made_from else {}
    files.seal(staged, {"stage": "made", "inputs": inputs})
    files.move_into_place(staged, target)


def _open_app() -> None:
    """From the start of the server to the first pages, the saved view's first samples among them."""
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
    served.close()


def _seconds(act: Any) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
