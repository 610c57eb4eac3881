"""Images checked by processes that die: the guilty one is named, the others keep their order, ids and bytes."""

import hashlib
import itertools
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasks import params
from tasks.images.check import Sound
from tasks.images.decode import decode
from tasks.images.record import Record, Refusal
from tasks.images.supervise import Checked, check_all, crew
from tasks.images.worker import read_file
from tests.golden.writers import png
from tests.images.hostile import CHECK, damaged
from tests.images.workspace import picture

INGEST = params.Ingest(max_pixels=1_000_000, max_seconds=2.0, max_memory_mb=512, max_bad_fraction=1.0)
REASON = {"abort": "decoder_crash", "exit": "decoder_crash", "hang": "decoder_timeout"}


def _record(name: str, content: bytes | str | Refusal) -> Record:
    return Record(name, "here", "pool", None, content)


def _check(
    records: Iterable[Record], ingest: params.Ingest, check: str = "tasks.images.check:check"
) -> Iterator[Checked]:
    with crew(ingest, check) as workers:
        yield from check_all(workers, records)


def _reason(checked: Checked) -> str:
    return checked.verdict.reason if isinstance(checked.verdict, Refusal) else "none"


def _workers() -> list[str]:
    """The children of this process that check images; other tests may have left a server."""
    tasks = Path("/proc/self/task").iterdir()
    children = [pid for task in tasks for pid in (task / "children").read_text().split()]
    return [pid for pid in children if b"tasks.images.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_only_the_guilty_are_lost_and_nobody_moves(tmp_path: Path) -> None:
    """Of 200 files, rows with bytes and refused paths, four kill their decoder; each of the others is as it was."""
    bad_at = {3: "abort", 4: "exit", 60: "hang", 199: "abort"}
    records = []
    for number in range(200):
        name, content = f"{number}-{bad_at.get(number, 'fine')}.png", picture(number)
        if number % 7 == 1 and number not in bad_at:
            records.append(_record(name, Refusal("bad_path", name)))
        elif number % 2:
            records.append(_record(name, content))
        else:
            (tmp_path / name).write_bytes(content)
            records.append(_record(name, str(tmp_path / name)))
    done = list(_check(iter(records), INGEST, CHECK))
    assert [checked.record for checked in done] == records
    for number, checked in enumerate(done):
        if number in bad_at:
            assert (_reason(checked), checked.image_id, checked.content) == (REASON[bad_at[number]], None, b"")
        elif isinstance(checked.record.content, Refusal):
            assert (_reason(checked), checked.content) == ("bad_path", b"")
        else:
            assert isinstance(checked.verdict, Sound)
            assert checked.content == picture(number)
            assert checked.image_id == hashlib.sha256(checked.content).hexdigest()
    assert "SIGABRT" in done[3].verdict.detail  # type: ignore[union-attr]
    assert "exit code 9" in done[4].verdict.detail  # type: ignore[union-attr]
    assert not _workers()


def test_a_worker_killed_from_outside_costs_nothing(tmp_path: Path) -> None:
    """An image that was in a worker's hands when somebody killed it is judged again, and is sound."""
    records = [_record(f"{n}.png", picture(n)) for n in range(40)]
    records[20] = _record(f"once={tmp_path}/killed", picture(20))
    done = list(_check(records, INGEST, CHECK))
    assert (tmp_path / "killed").exists()
    assert [_reason(checked) for checked in done] == ["none"] * 40


def test_memory_is_limited_by_the_kernel() -> None:
    """An image that fits max_pixels and not the memory is refused by name; the next one is sound."""
    rows = [b"\0" * 5000 * 3] * 5000
    bomb = png(rows, 5000, 5000, 8, 2)
    ingest = INGEST.model_copy(update={"max_pixels": 100_000_000, "max_memory_mb": 128, "max_seconds": 60.0})
    done = list(_check([_record("bomb.png", bomb), _record("a.png", picture(0))], ingest))
    assert [_reason(checked) for checked in done] == ["decoder_memory", "none"]


def test_our_own_mistake_is_not_blamed_on_an_image() -> None:
    """An error of a check is raised with its traceback; a check that cannot be loaded is no crash of a decoder."""
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        list(_check([_record("bug.png", picture(0))], INGEST, CHECK))
    with pytest.raises(RuntimeError, match="did not start"):
        list(_check([_record("a.png", picture(0))], INGEST, "tests.images.hostile_not:check"))
    assert not _workers()


def test_stopping_early_leaves_no_process() -> None:
    """Who takes only a few results of an endless source gets them, and the workers end."""
    endless = (_record(f"{n}.png", picture(n % 5)) for n in itertools.count())
    checked = _check(endless, INGEST)
    first = list(itertools.islice(checked, 50))
    checked.close()  # type: ignore[attr-defined]
    assert [c.record.path for c in first] == [f"{n}.png" for n in range(50)]
    assert not _workers()


def test_workers_are_light() -> None:
    """A worker loads Pillow, and neither numpy nor pyarrow nor torch, before an image needs it."""
    code = "import sys, tasks.images.worker, tasks.images.check; print(*sys.modules)"
    with os.popen(f"{sys.executable} -c '{code}'") as said:
        modules = said.read().split()
    assert "PIL.Image" in modules
    assert not {"numpy", "pyarrow", "torch", "pydantic", "multiprocessing"} & {name.split(".")[0] for name in modules}


def test_damaged_images_are_refused_or_usable() -> None:
    """2,000 damaged images: none is lost, every refusal has a reason, everything accepted can be decoded (B5)."""
    contents = list(damaged(2000))
    done = list(_check((_record(f"{n}.bin", c) for n, c in enumerate(contents)), INGEST))
    assert [checked.record.content for checked in done] == contents
    reasons = {_reason(checked) for checked in done}
    assert reasons <= {"none", "truncated", "decode_error", "too_large", "not_an_image", "format_not_allowed",
                       "empty_file", "suspect_tail", "needs_range", "mode_not_allowed", "decoder_memory"}  # fmt: skip
    for checked in done:
        if isinstance(checked.verdict, Sound):
            assert decode(checked.content, 8, 3, 255).shape == (3, 8, 8)
        else:
            assert checked.verdict.detail
            assert "0x" not in checked.verdict.detail, "an address in memory would differ from run to run"


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    """A file rewritten all the time is `unstable_file`, one that vanishes too; a quiet one is read as it is."""
    path = tmp_path / "a.png"
    big = picture(0) + np.random.default_rng(0).bytes(4_000_000)
    path.write_bytes(big)
    assert read_file(str(path), 1_000_000)[0] == big
    stop = threading.Event()

    def rewrite() -> None:
        for time in itertools.count(1):
            if stop.is_set():
                return
            os.utime(path, ns=(time, time))

    unstable: bytes | Refusal = Refusal("unstable_file", "it changed while it was read, twice")
    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for _ in range(3000):  # a busy machine may not let the writer in for a while
            seen = read_file(str(path), 1_000_000)[0]
            assert isinstance(seen, Refusal) or seen == big
            if seen == unstable:
                break
    finally:
        stop.set()
        writer.join()
    assert seen == unstable
    assert read_file(str(path), 1_000_000)[0] == big
    assert read_file(str(tmp_path / "none.png"), 1_000_000)[0] == Refusal("unreadable", "No such file or directory")


@pytest.mark.parametrize("in_a_file", [True, False])
def test_a_released_tail_is_taken_in(tmp_path: Path, in_a_file: bool) -> None:
    """A suspect tail that a person released is a sound image; the same one unreleased, or released for another
    reason, stays refused."""
    whole = picture(3, "JPEG", 64)
    content = whole[: len(whole) * 2 // 3] + bytes(len(whole) // 3)
    path = tmp_path / "cut.jpg"
    path.write_bytes(content)
    record = _record("cut.jpg", str(path) if in_a_file else content)
    reasons = (None, "misplaced", "suspect_tail")
    checked = list(_check([replace(record, released=reason) for reason in reasons], INGEST))
    assert [_reason(one) for one in checked[:2]] == ["suspect_tail", "suspect_tail"]
    assert isinstance(checked[2].verdict, Sound)
    assert checked[2].content == content
