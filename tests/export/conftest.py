"""A finished workspace whose names are as odd as names get; what an export must bring to other tools."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from PIL import Image

from tasks import files
from tasks.params import Settings, load
from tests import fabricated
from tests.conftest import ROOT

CLASSES = ["a cat", "../x", "a/b", "CON", ".", "=1+1", "ünï çødé", "%2e"]
NAMES = [
    "pool/plain.png",
    "pool/new\nline.png",
    "pool/'quote\".png",
    "pool/" + "x" * 251 + ".png",
    "pool/-rf",
    "pool/..",
    "pool/not\\xffutf8.jpg",
    "=cmd|' /C calc'!A0",
    "pool/photo.jfif",
    "pool/aux.png",
]
COPIES = {"kept": 1, "human_label": 2}


@dataclass(frozen=True)
class Made:
    """What was put in: rows by image_id, and the encoded images."""

    settings: Settings
    rows: dict[str, dict[str, object]]
    content: dict[str, bytes]
    given: dict[str, str]

    def learnt(self) -> dict[str, str]:
        """image_id → label of what is exported by default."""
        return {i: str(row["label"]) for i, row in self.rows.items() if row["copies"]}


def _picture(number: int) -> bytes:
    stream = io.BytesIO()
    pixel_HWC = np.random.default_rng(number).integers(0, 256, (6, 9, 3), np.uint8)
    Image.fromarray(pixel_HWC).save(stream, "JPEG" if number % 3 == 0 else "PNG")
    return stream.getvalue()


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """40 images in two shards, 8 classes, people's and teachers' labels, held-out and rejected images, odd names."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
    raw = yaml.load((ROOT / "params.yaml").read_text(), yaml.CSafeLoader)
    assert list(raw["sources"]) == ["digits"]
    content = {hashlib.sha256(data).hexdigest(): data for data in map(_picture, range(40))}
    ids = sorted(content)
    for_pool, given = ids[:36], {i: CLASSES[k] for k, i in enumerate(ids[36:])}
    rows: dict[str, dict[str, object]] = {}
    for n, image_id in enumerate(for_pool):
        reason = ("kept", "kept", "low_confidence", "human_label", "human_rejected", "held_out")[n % 6]
        label = CLASSES[n % 8] if reason not in {"human_rejected", "held_out"} else None
        rows[image_id] = {
            "label": label,
            "confidence": np.float32(1 / (n + 1)) if label else None,
            "soft": [0.25, 0.75] if reason == "kept" else None,
            "copies": COPIES.get(reason, 0),
            "round": "r1",
            "source": "human" if reason.startswith("human") else "teacher:r0" if label else "",
            "reason": reason,
            "path": NAMES[n] if n < len(NAMES) else f"pool/same.png{n % 2}",
        }
    columns = {name: [rows[i].get(name) for i in for_pool] for name in files.LABEL_TABLE.names if name != "image_id"}
    fabricated.publish(files.labels("r1"), labels=pa.table({"image_id": for_pool, **columns}, schema=files.LABEL_TABLE))
    fabricated.split(CLASSES, train=given, pool=dict.fromkeys(for_pool, "pool"), test={})
    paths = [str(rows[i]["path"]) if i in rows else "labeled/x.png" for i in ids]
    fabricated.publish(files.catalog("digits"), images=pa.table({"image_id": ids, "path": paths}))
    halves = {f"part-{k:05d}": ids[k::2] for k in range(2)}
    shards = {
        name: pa.table({"image_id": some, "bytes": pa.array([content[i] for i in some], pa.binary())})
        for name, some in halves.items()
    }
    fabricated.publish(files.images("digits"), **shards)
    return Made(load(), rows, content, given)
