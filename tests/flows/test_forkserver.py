"""DVC out of a process that has it loaded: what is killed, and what comes of the command."""

import asyncio
import json
import os
import signal
from pathlib import Path

from flows.pipeline import mended
from flows.pipeline.repro import FORKSERVER, Outcome, repro
from tasks.errors import BUSY
from tests.flows.conftest import Toy


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _dvc(toy: Toy) -> int:
    """The process of DVC at work in a project: the one whose child runs the stage."""
    shells = [int(p.name) for p in Path("/proc").glob("[0-9]*") if _works_on(p, toy, "toy.py")]
    return _parent(shells[0])


def _works_on(process: Path, toy: Toy, word: str) -> bool:
    try:
        return os.readlink(process / "cwd") == str(toy.folder) and word in (process / "cmdline").read_text()
    except OSError:
        return False


def test_a_server_that_dies_takes_no_command_with_it(tmp_path: Path) -> None:
    """The stage at work ends well, and the next one gets a new server."""
    toy = Toy(tmp_path / "toy", {"student": ("alone", []), "next": ("ok", ["student"])})
    (toy.folder / "hold").touch()

    async def work() -> list[Outcome]:
        at_work = asyncio.create_task(repro("student", toy.folder, lambda _line: None))
        while not toy.tries("student"):
            await asyncio.sleep(0.05)
        assert FORKSERVER._process
        os.kill(FORKSERVER._process.pid, signal.SIGKILL)
        (toy.folder / "hold").unlink()
        return [await at_work, await repro("next", toy.folder, lambda _line: None)]

    assert asyncio.run(work()) == [Outcome(), Outcome()]
    assert (toy.tries("student"), toy.tries("next")) == (1, 1)
    assert toy.alive() == []


def test_half_a_list_of_a_killed_dvc_is_forgotten(tmp_path: Path) -> None:
    """DVC writes it in place and refuses what a kill leaves of it, for ever; a whole one stays."""
    toy = Toy(tmp_path / "toy", {"one": ("ok", [])})
    listed = toy.folder / ".dvc/tmp/rwlock"
    listed.parent.mkdir(exist_ok=True)
    listed.write_text("")
    assert "JSON structure is corrupted" in toy.run("dvc", "repro").stderr
    assert asyncio.run(repro("one", toy.folder, lambda _line: None)) == Outcome()
    (toy.folder / "toy.py").write_text((toy.folder / "toy.py").read_text() + "\n")
    listed.write_text(json.dumps({"write": {}, "read": {str(toy.folder / "toy.py"): [{"pid": 1, "cmd": "dvc other"}]}}))
    assert asyncio.run(repro("one", toy.folder, lambda _line: None)) == Outcome()
    assert "dvc other" in listed.read_text()


def test_half_a_lock_file_of_a_killed_dvc_is_brought_back(tmp_path: Path) -> None:
    """DVC writes it in place, too. It is as it was when the killed command began, else as git has it; where none knows
    it, it comes from DVC's cache of runs. No stage runs again."""
    toy, said = Toy(tmp_path / "toy", {"one": ("ok", []), "two": ("ok", ["one"])}, git=True), list[str]()
    lock, kept = toy.folder / "dvc.lock", toy.folder / mended.KEPT
    assert toy.run("dvc", "repro").returncode == 0
    whole = lock.read_text()

    def brought_back(half: str) -> list[str]:
        lock.write_text(half)
        said.clear()
        for stage in ("one", "two", "two"):  # the last one keeps what the two made
            assert asyncio.run(repro(stage, toy.folder, said.append)).exit_code == 0
        assert lock.read_text() == whole
        return [line for line in said if "half written when DVC was killed" in line]

    assert ["made anew" in line for line in brought_back("")] == [True]
    assert ["as it was before" in line for line in brought_back(whole[: len(whole) // 2])] == [True]
    kept.unlink()
    me = ("-c", "user.name=Ada", "-c", "user.email=a@b.c")
    for command in (("add", "dvc.lock"), (*me, "commit", "-qm", "lock")):
        assert toy.run("git", *command).returncode == 0
    assert ["as it was before" in line for line in brought_back("")] == [True]
    assert (toy.tries("one"), toy.tries("two")) == (1, 1)


def test_a_killed_dvc_leaves_no_stage_and_may_be_tried_again(tmp_path: Path) -> None:
    """SIGKILL (as when memory runs out) is told from a mistake of the stage."""
    toy = Toy(tmp_path / "toy", {"sleepy": ("sleep", [])})

    async def killed() -> Outcome:
        at_work = asyncio.create_task(repro("sleepy", toy.folder, lambda _line: None))
        while not toy.tries("sleepy"):
            await asyncio.sleep(0.05)
        os.kill(_dvc(toy), signal.SIGKILL)
        return await at_work

    done = asyncio.run(killed())
    assert (done.exit_code, "killed by SIGKILL" in done.message) == (BUSY, True), done
    assert toy.alive() == []


def test_a_cancelled_command_is_gone_before_it_is_told(tmp_path: Path) -> None:
    """Also one that is cancelled before DVC has begun."""
    toy = Toy(tmp_path / "toy", {"sleepy": ("sleep", [])})

    async def cancelled(begun: bool) -> None:
        at_work = asyncio.create_task(repro("sleepy", toy.folder, lambda _line: None))
        await asyncio.sleep(0.01)
        while begun and not toy.tries("sleepy"):
            await asyncio.sleep(0.05)
        at_work.cancel()
        await asyncio.gather(at_work, return_exceptions=True)

    for begun in (False, True):
        asyncio.run(cancelled(begun))
        assert toy.alive() == []
        assert toy.tries("sleepy") == begun
