"""benchmarks/ssl.py on tiny splits: what it claims of its splits, its rows, its resuming and its table."""

import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import ssl_data, ssl_nets, ssl_rows, ssl_runs, ssl_table
from tests.conftest import ROOT


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Namespace]:
    """Digits with 2-step nets of LeNet's kind; results and nets in a folder of the test."""
    tiny = {"net": "lenet5", "width": 1, "steps": 2, "stochastic_depth": 0.0}
    change = ssl_rows.CHANGES["digits"] | {"train": {"batch": 4}, "teacher": tiny, "student": tiny | {"ratio": 2}}
    change["curate"] = {"threshold": 0.05}  # which any answer reaches
    monkeypatch.setitem(ssl_rows.CHANGES, "digits", change)
    monkeypatch.setattr(ssl_runs, "NETS", tmp_path / "nets")
    ssl_rows.base.cache_clear()
    yield Namespace(data="digits", labels=50, pool="even", cifar=None, seeds=[0], results=tmp_path / "out", threads=1)
    ssl_rows.base.cache_clear()


def _run(asked: Namespace, *rows: str) -> list[dict[str, Any]]:
    for row in rows:
        ssl_runs.one(asked, row, 0)
    return ssl_runs.finished(asked.results)


def test_the_standard_library_keeps_its_name() -> None:
    """A script in benchmarks/ that imports `ssl` gets Python's module, although a file of that name lies beside it."""
    told = "import sys; sys.path.insert(0, 'benchmarks'); import ssl; print(ssl.SSLContext, sys.path[0])"
    done = subprocess.run([sys.executable, "-S", "-c", told], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "<class 'ssl.SSLContext'> benchmarks\n", done.stderr


@pytest.mark.parametrize("pool", ssl_data.POOLS)
def test_no_image_is_in_two_parts(pool: str) -> None:
    """Labeled, pool, validation and test are disjoint, whatever the pool's skew; so many labels as were asked for."""
    split = ssl_data.material("digits", 50, pool, 3, 8, None)
    parts = [split.labeled, split.pool, split.validation, split.test]
    codes = [{bytes(image.numpy()) for image in part.image_NCHW} for part in parts]
    assert len(split.labeled.label_N) == 50
    assert sum(map(len, codes)) == len(set.union(*codes)), "no two digits are the same picture"


def test_a_reversed_pool_runs_against_its_labels() -> None:
    """Class 0 has most labels; it is the largest of a skewed pool and the smallest of a reversed one, 10 to 1."""
    counts = {
        pool: [np.bincount(p.label_N.numpy(), minlength=10) for p in (split.labeled, split.pool)]
        for pool in ("skewed", "reversed")
        for split in [ssl_data.material("digits", 50, pool, 0, 8, None)]
    }
    for labeled_C, pool_C in counts.values():
        assert labeled_C[0] == labeled_C.max() > 3 * labeled_C[9] > 0
        assert 9 < pool_C.max() / pool_C.min() < 12
    assert counts["skewed"][1].argmax() == 0
    assert counts["reversed"][1].argmax() == 9


@pytest.mark.parametrize("data", sorted(ssl_rows.CHANGES))
def test_every_row_differs_from_noisy_student_in_what_it_says(data: str) -> None:
    """Each row is buildable and no two rows are the same nets, but for a flipped setting that is the base's own."""
    start = ssl_rows.base(data)
    plain = [ssl_nets.described(lesson) for lesson in ssl_rows.chain(start, ssl_rows.ABLATED)]
    for row in set(ssl_rows.ROWS) - {"ours"}:
        described = [ssl_nets.described(lesson) for lesson in ssl_rows.lessons(row, start, 7)]
        own = {f"{start.curate.labels}_labels"} | (
            {"same_size"} if start.student.width == start.teacher.width else set()
        )
        assert (described == plain) == (row in own), row


def test_fixmatch_gets_the_computation_of_all_rounds() -> None:
    """Its steps cost what teacher, three students and three passes over the pool cost, to within one step."""
    start = ssl_rows.base("cifar10")
    chain = ssl_rows.chain(start, ssl_rows.ROUNDS)
    one = ssl_rows.fixmatch(start, 1)[-1]
    steps = ssl_nets.equal_steps(chain, one, start.image, 20_000)
    bill = sum(ssl_nets.cost(lesson, start.image, 0) for lesson in chain)
    image = ssl_nets.flops(start.teacher.net, start.teacher.width, 3, 32)
    bill += 3 * 20_000 * image
    step = ssl_nets.cost(one, start.image, 0)
    assert start.teacher.width == start.student.width, "one price for all images"
    assert 0 <= bill - steps * step < step


def test_a_finished_row_is_not_run_again_and_rows_share_nets(asked: Namespace) -> None:
    """The JSON is left alone; `noisy_student` and its variant in the last round train r0, r1 and r2 once."""
    _run(asked, "noisy_student", "last_fixmatch")
    cards = {path: path.stat().st_mtime_ns for path in ssl_runs.NETS.glob("*/card.json")}
    assert len(cards) == 5
    kept = asked.results / "digits-50-even-noisy_student-0.json"
    before = kept.read_bytes()
    kept.unlink()
    _run(asked, "noisy_student", "last_fixmatch")
    assert kept.read_bytes() == before
    assert cards == {path: path.stat().st_mtime_ns for path in ssl_runs.NETS.glob("*/card.json")}


def test_ours_is_chosen_by_validation_alone(asked: Namespace) -> None:
    """The candidate with the best mean on validation images is taken, also where its test is the worst."""
    _run(asked, "noisy_student", "no_filter", "soft_labels")
    for row, validation, test in (("noisy_student", 0.5, 0.9), ("no_filter", 0.6, 0.1), ("soft_labels", 0.4, 0.8)):
        path = asked.results / f"digits-50-even-{row}-0.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"validation": validation, "test": test}))
    ours = next(result for result in _run(asked, "ours") if result["row"] == "ours")
    assert (ours["chosen"], ours["test"]) == ("no_filter", 0.1)
    assert ours["validation_means"] == {"noisy_student": 0.5, "no_filter": 0.6, "soft_labels": 0.4}


def test_ours_refuses_without_candidates(asked: Namespace) -> None:
    """Nothing is chosen among fewer than two settings."""
    with pytest.raises(SystemExit, match="ours is chosen among noisy_student"):
        _run(asked, "ours")


def test_the_table_pairs_by_seed_and_says_what_was_not_measured() -> None:
    """Differences are taken seed by seed, in points, and only where both rows have the seed."""

    def result(row: str, seed: int, test: float) -> dict[str, Any]:
        net = {"key": "net", "net": "lenet5", "width": 1, "steps": 2, "images": 8, "cpu_seconds": 1.0}
        scores = {"validation": 0.5, "test": test}
        where = {"data": "digits", "labels": 50, "pool": "even", "pool_images": 9}
        return where | {"row": row, "seed": seed, "nets": [net | scores]} | scores

    results = [result("supervised", 0, 0.5), result("supervised", 1, 0.7)]
    results += [result("fixmatch", 1, 0.8), result("fixmatch", 2, 0.1)]
    text = ssl_table.markdown(results)
    row = next(line for line in text.splitlines() if line.startswith("| FixMatch,"))
    assert row.endswith("| +10.0 (one seed) |")
    assert "| plain pseudo-label | | | | | | not measured | |" in text
    assert ssl_table.spread([0.5, 0.7]) == "0.6000 ± 0.1414"


def test_a_noised_teacher_is_noisy_and_comes_back_clean() -> None:
    """Its answers differ from its clean ones, its batch statistics do not move, and it is in eval mode afterwards."""
    from tasks.core.augment import NONE
    from tasks.core.predict import predict
    from tasks.nets.catalog import build

    torch.manual_seed(0)
    net = build("wrn10mp", channels=1, classes=10, width=1, dropout=0.5, stochastic_depth=0.5).eval()
    image_NCHW = torch.randint(0, 256, (8, 1, 8, 8), dtype=torch.uint8)
    clean = predict(net, image_NCHW, 8)
    told = ssl_nets.noised(net, image_NCHW, NONE, 1)
    assert not torch.equal(told, clean)
    assert torch.equal(ssl_nets.noised(net, image_NCHW, NONE, 1), told), "drawn from the seed alone"
    assert torch.equal(predict(net, image_NCHW, 8), clean)
