"""The pictures on a run's page: what the score files say, as SVG that stands alone."""

import base64
import csv
import re
from pathlib import Path
from xml.etree import ElementTree

from flows import pictures

SVG = "{http://www.w3.org/2000/svg}"


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _texts(uri: str) -> list[str]:
    head, data = uri.split(",", 1)
    assert head == "data:image/svg+xml;base64"
    root = ElementTree.fromstring(base64.b64decode(data))
    assert root.tag == f"{SVG}svg"
    assert "var(" not in base64.b64decode(data).decode(), "a picture has no page whose variables it could take"
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def test_each_picture_shows_what_was_measured(tmp_path: Path) -> None:
    """The matrix counts every pair, the diagrams name rounds and classes; each is small enough for a database."""
    said = [("cat", "cat")] * 37 + [("cat", "dog")] * 5 + [("dog", "dog")] * 41
    for round_ in ("r1", "r2"):
        scores = tmp_path / "data/scores" / round_
        _write(scores / "confusion.csv", [{"actual": a, "predicted": p} for a, p in said])
        _write(scores / "reliability.csv", [{"confidence": 0.5, "accuracy": 0.4, "n": 9}] * 2)
        flow = [("", "cat", 80), ("cat", "dog", 3), ("dog", "dog", 20)]
        _write(scores / "flow.csv", [{"before": b, "after": a, "n": n} for b, a, n in flow])
    found = pictures.pictures(tmp_path, ["r1", "r2"])
    assert list(found) == ["confusion", "reliability", "label-flow"]
    assert all(len(uri) < pictures.LARGEST for uri in found.values())
    matrix = _texts(found["confusion"])
    assert {"37", "5", "41", "cat", "dog", "said", "true"} <= set(matrix)
    assert "0" not in [word for word in matrix if word not in {"cat", "dog"}]
    assert {"confidence", "share right"} <= set(_texts(found["reliability"]))
    assert {"r1", "r2"} <= {word for text in _texts(found["label-flow"]) for word in re.findall(r"\w+", text)}


def test_what_was_not_measured_has_no_picture(tmp_path: Path) -> None:
    """Neither before the first run, nor where a round has no test images, nor with more classes than one can read."""
    assert pictures.pictures(tmp_path, []) == {}
    assert pictures.pictures(tmp_path, ["r1"]) == {}
    many = [{"actual": f"c{i}", "predicted": f"c{i}"} for i in range(pictures.MOST_CLASSES + 1)]
    _write(tmp_path / "data/scores/r1/confusion.csv", many)
    assert pictures.pictures(tmp_path, ["r1"]) == {}
