"""Clicks on their way to the ledger: on disk when they are acknowledged, in one piece, once."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.decisions import Decision
from tasks.errors import UserError
from tasks.review import spool
from tasks.review.spool import Click
from tests.conftest import ROOT

CLICK = Click(Decision("a" * 64, "relabel", "cat", "dog", "Ada", "2026-01-31T12:00:00+00:00", "f" * 64), "cat", "")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _click(image_id: str, new: str, who: str = "Ada") -> Click:
    return replace(CLICK, said=replace(CLICK.said, image_id=image_id, new=new, who=who))


acts = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.sampled_from("abc"), min_size=1, unique=True), st.sampled_from("xyz")),
        st.tuples(st.just("take back"), st.just([]), st.just("")),
        st.tuples(st.just("sync"), st.just([]), st.just("")),
    ),
    max_size=12,
)


@dataclass(eq=False)
class _Said:
    """An operation as a list of dicts would keep it."""

    names: dict[str, str]
    is_synced: bool = False
    can_be_taken_back: bool = True


def _back(operation: spool.Operation) -> list[Click]:
    return [_click(click.said.image_id, "back") for click in operation.clicks]


@given(acts)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
def test_what_waits_is_what_was_clicked_since_the_last_sync_and_not_taken_back(
    acts: list[tuple[str, list[str], str]],
) -> None:
    """Against a list: a selection is added and taken back as a whole, once; what a sync has seen is taken back by the
    opposite; a sync is handed all that waits and empties it; nothing else does."""
    spool.path("r1").unlink(missing_ok=True)
    stack: list[_Said] = []
    for act, images, name in acts:
        if act == "add":
            spool.add("r1", [_click(image, name) for image in images])
            stack.append(_Said(dict.fromkeys(images, name)))
        elif act == "sync":
            seen: list[Click] = []
            spool.hand_over("r1", lambda waiting, seen=seen: seen.extend(waiting) or [])  # type: ignore[misc]
            assert {click.said.image_id: click.said.new for click in seen} == _expected(stack)
            stack = [replace(said, is_synced=True) for said in stack]
        else:
            target = next((said for said in reversed(stack) if said.can_be_taken_back), None)
            found = spool.take_back("r1", "Ada", _back)
            assert (found is None) == (target is None)
            if target is not None and target.is_synced:
                target.can_be_taken_back = False
                stack.append(_Said(dict.fromkeys(target.names, "back"), can_be_taken_back=False))
            elif target is not None:
                stack.remove(target)
    assert {click.said.image_id: click.said.new for click in spool.pending("r1")} == _expected(stack)


def _expected(stack: list[_Said]) -> dict[str, str]:
    expected: dict[str, str] = {}
    for said in stack:
        expected |= {} if said.is_synced else said.names
    return expected


def test_each_person_takes_back_the_own_last_click() -> None:
    """Never another's; and what a sync refused is still to be taken back."""
    spool.add("r1", [_click("a", "x")])
    spool.add("r1", [_click("b", "y", who="Bob")])
    spool.hand_over("r1", lambda waiting: [click for click in waiting if click.said.who == "Bob"])
    assert [click.said.image_id for click in spool.pending("r1")] == ["b"]
    found = spool.take_back("r1", "Ada", _back)
    assert found is not None
    assert [click.said.image_id for click in found.clicks] == ["a"]
    assert spool.take_back("r1", "Ada", _back) is None
    found = spool.take_back("r1", "Bob", _back)
    assert found is not None
    assert not found.synced
    assert [click.said.new for click in spool.pending("r1")] == ["back"]


def test_a_click_made_during_a_sync_is_handed_over_once() -> None:
    """Clicks and syncs at once: whoever comes second waits, none is lost and none is there twice."""
    seen: list[str] = []

    def click(first: int) -> None:
        for number in range(first, first + 40):
            spool.add("r1", [_click(str(number), "x")])

    def write(waiting: list[Click]) -> list[Click]:
        time.sleep(0.002)  # a ledger takes longer than a click
        seen.extend(click.said.image_id for click in waiting)
        return []

    with ThreadPoolExecutor(2) as people:
        clicking = [people.submit(click, first) for first in (0, 40)]
        while not all(future.done() for future in clicking):
            spool.hand_over("r1", write)
    spool.hand_over("r1", write)
    assert [future.result() for future in clicking] == [None, None]
    assert sorted(map(int, seen)) == list(range(80))


def test_a_line_cut_off_by_a_crash_was_never_acknowledged_and_harms_no_other(tmp_path: Path) -> None:
    """The next click stands on a line of its own; a whole line that is none of ours is refused by its number."""
    spool.add("r1", [_click("a", "x")])
    with spool.path("r1").open("ab") as stream:
        stream.write(b'{"name": "cut off')
    assert [click.said.image_id for click in spool.pending("r1")] == ["a"]
    spool.add("r1", [_click("b", "y")])
    assert [click.said.image_id for click in spool.pending("r1")] == ["a", "b"]
    with spool.path("r1").open("ab") as stream:
        stream.write(b'{"name": "no clicks"}\n')
    with pytest.raises(UserError, match=r"r1\.jsonl, line 3 is none of ours"):
        spool.pending("r1")


def test_a_kill_loses_no_acknowledged_click(tmp_path: Path) -> None:
    """SIGKILL at any moment: every click whose name was printed is there."""
    script = (
        "from tasks.review import spool; from tests.review.test_spool import _click\n"
        "for i in range(10**6): spool.add('r1', [_click(f'{i:064}', 'x')]); print(i, flush=True)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=env)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline() for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    acknowledged += process.stdout.read().splitlines(keepends=True)
    process.wait()
    process.stdout.close()
    count = sum(1 for line in acknowledged if line.endswith("\n"))
    there = [click.said.image_id for click in spool.pending("r1")]
    assert there[:count] == [f"{i:064}" for i in range(count)]
    assert len(there) <= count + 1
