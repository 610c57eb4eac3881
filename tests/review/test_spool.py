"""Clicks on their way to the ledger: on disk when they are acknowledged, in one piece, once."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
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
        st.tuples(st.just("drop"), st.just([]), st.just("")),
        st.tuples(st.just("sync"), st.just([]), st.just("")),
    ),
    max_size=12,
)


@given(acts)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
def test_what_waits_is_what_was_clicked_since_the_last_sync_and_not_taken_back(
    acts: list[tuple[str, list[str], str]],
) -> None:
    """Against a list of dicts: a selection is added and taken back as a whole, a sync empties, nothing else does."""
    spool.path("r1").unlink(missing_ok=True)
    stack: list[dict[str, str]] = []
    for act, images, name in acts:
        if act == "add":
            spool.add("r1", [_click(image, name) for image in images])
            stack.append(dict.fromkeys(images, name))
        elif act == "sync":
            spool.synced("r1", [])
            stack = []
        elif stack:
            found = spool.last("r1", "Ada")
            assert found is not None
            spool.drop("r1", found.name)
            stack.pop()
    expected: dict[str, str] = {}
    for selection in stack:
        expected |= selection
    assert {click.said.image_id: click.said.new for click in spool.pending("r1")} == expected


def test_each_person_takes_back_the_own_last_click(tmp_path: Path) -> None:
    """Also one that a sync has seen, and never one twice."""
    first = spool.add("r1", [_click("a", "x")])
    spool.add("r1", [_click("b", "y", who="Bob")])
    found = spool.last("r1", "Ada")
    assert found is not None
    assert (found.name, found.synced) == (first, False)
    spool.synced("r1", [_click("c", "z")])
    left = spool.last("r1", "Ada")
    assert left is not None
    assert not left.synced, "what a sync refused waits on"
    spool.drop("r1", left.name)
    assert spool.pending("r1") == []
    found = spool.last("r1", "Ada")
    assert found is not None
    assert (found.name, found.synced) == (first, True)
    spool.add("r1", [_click("a", "w")], takes_back=first)
    assert spool.last("r1", "Ada") is None


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
