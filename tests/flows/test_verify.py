"""`understudy verify`: no damage in workspace or cache is silent, and the commands it names mend it."""

import os
import random
import re
import sys
from pathlib import Path

import pytest

from flows.versions import storage
from flows.versions.verify import Found, cache, workspace
from tests.flows.conftest import UNDERSTUDY
from tests.flows.stored import Stored


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """The project after its run. Copy it before you change it."""
    return Stored.make(tmp_path_factory.mktemp("stored") / "project")


@pytest.fixture
def stored(made: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stored:
    """A copy to damage; the test stands in it."""
    copy = made.again(tmp_path / "project")
    monkeypatch.chdir(copy.folder)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", copy.env["DVC_SITE_CACHE_DIR"])
    return copy


def _named(cache_at: Path, outputs: list[storage.Output]) -> set[str]:
    found = Found(Path.cwd(), cache_at, outputs)
    found.read()
    return {bad.path.as_posix() for bad in [*workspace(found), *cache(found)]}


def _objects() -> list[Path]:
    return sorted(p for p in Path(".dvc/cache/files/md5").rglob("*") if p.is_file())


def _damage(path: Path, rng: random.Random) -> None:
    """Flip one bit or cut the end off; mode and times stay, as a disk's error leaves them."""
    before, content = path.stat(), bytearray(path.read_bytes())
    if rng.random() < 0.5:
        place = rng.randrange(len(content) * 8)
        content[place // 8] ^= 1 << place % 8
    else:
        content = content[: rng.randrange(len(content))]
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_every_flip_and_cut_is_found_and_named(stored: Stored) -> None:
    """200 single bits or cuts in workspace and cache: each time exactly the damaged file is named."""
    with storage.opened(stored.folder) as store:
        outputs, cache_at = store.outputs, store.cache.relative_to(stored.folder)
    rng = random.Random(0)
    targets = [p for p in sorted(Path("data").rglob("*")) if p.is_file()] + _objects()
    assert _named(cache_at, outputs) == set()
    for _ in range(200):
        path = rng.choice(targets)
        content, mode = path.read_bytes(), path.stat().st_mode
        _damage(path, rng)
        assert _named(cache_at, outputs) == {path.as_posix()}
        path.chmod(0o644)
        path.write_bytes(content)
        path.chmod(mode)


def test_dvc_trusts_a_cut_object_and_verify_does_not(stored: Stored) -> None:
    """The reason for all this: `dvc status` sees nothing; we leave with 5 and name object, stage, output and file."""
    path = next(p for p in _objects() if p.read_bytes() == Path("data/things/b/deep/more.bin").read_bytes())
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:100])
    path.chmod(0o444)
    assert "up to date" in stored.good("dvc", "status")
    done = stored.run(UNDERSTUDY, "verify")
    assert done.returncode == 5, done.stdout + done.stderr
    assert f"BAD   {path}" in done.stdout
    assert "it has 100 bytes, recorded: 500" in done.stdout
    assert "stage b, output data/things/b, file deep/more.bin" in done.stdout
    assert re.search(r"\d+ files in 2 artefacts, \d+ cache objects: .* MB/s\)\n1 of them bad\n$", done.stdout)


def test_the_commands_it_names_mend_the_cache(stored: Stored) -> None:
    """--fix moves the bad objects away, the `dvc commit -f` it prints restores them, and all is good again."""
    damaged = [p for p in _objects() if p.name.endswith(".dir")][:1] + _objects()[:2]
    before = {p: p.read_bytes() for p in damaged}
    for path in before:
        _damage(path, random.Random(1))
    done = stored.run(UNDERSTUDY, "verify", "--fix")
    assert done.returncode == 5, done.stdout + done.stderr
    assert not any(path.exists() for path in before)
    assert len([p for p in Path(".work/quarantined-cache").rglob("*") if p.is_file()]) == len(before)
    commands = set(re.findall(r"`(dvc commit -f \w+)`", done.stdout))
    assert commands
    for command in commands:
        stored.good(*command.split())
    assert stored.run(UNDERSTUDY, "verify").returncode == 0
    assert {p: p.read_bytes() for p in before} == before


@pytest.mark.parametrize("both", [False, True])
def test_the_commands_it_names_mend_the_workspace(stored: Stored, both: bool) -> None:
    """A file cut in the workspace comes back from the cache, or from the stage where the cache is damaged too."""
    before = stored.contents()
    path = Path("data/things/a/part-00001.bin")
    twin = next(p for p in _objects() if p.read_bytes() == path.read_bytes())
    for target in [path, twin][: 1 + both]:
        _damage(target, random.Random(3))
    done = stored.run(UNDERSTUDY, "verify", *(["--fix"] if both else []))
    assert done.returncode == 5
    assert f"BAD   {path}" in done.stdout
    if both:
        assert "rm -r data/things/a, then `understudy verify --fix` and `dvc repro a`" in done.stdout
        stored.good("rm", "-r", "data/things/a")
        stored.good("dvc", "repro", "a")
    else:
        assert "`dvc checkout --force data/things/a`" in done.stdout
        stored.good("dvc", "checkout", "--force", "data/things/a")
    assert stored.run(UNDERSTUDY, "verify").returncode == 0
    assert stored.contents() == before


def test_what_a_stage_made_and_dvc_did_not_take_in_is_not_thrown_away(stored: Stored) -> None:
    """A kill between the two: the new artefact is whole, and `dvc repro` is named before `dvc checkout --force`."""
    script = Path("make.py").read_text()
    Path("make.py").write_text(script.replace("Random(name)", "Random(name + '!')"))
    stored.good(sys.executable, "make.py", "a")
    said = stored.run(UNDERSTUDY, "verify").stdout
    assert "fix: if a run was stopped before DVC took it in, `dvc repro a` does; else `dvc checkout" in said
    stored.good("dvc", "repro", "a")
    assert stored.run(UNDERSTUDY, "verify").returncode == 0


def test_missing_and_foreign_files_are_named(stored: Stored) -> None:
    """A file that went or came is damage; an output that is not checked out at all is only a note."""
    Path("data/things/a/part-00000.bin").unlink()
    Path("data/things/a/new.txt").write_text("?")
    stored.good("rm", "-r", "data/things/b")
    done = stored.run(UNDERSTUDY, "verify")
    assert done.returncode == 5
    assert "data/things/a/part-00000.bin is missing" in done.stdout
    assert "data/things/a/new.txt is in no record" in done.stdout
    assert "note  1 outputs of dvc.lock are not in the workspace" in done.stdout
    assert done.stdout.endswith("2 of them bad\n")


def test_an_object_of_an_earlier_state_is_named_as_such(stored: Stored) -> None:
    """What dvc.lock no longer refers to is checked too: one day somebody goes back."""
    content = Path("make.py").read_text().replace("500", "501")
    old = next(p for p in _objects() if p.read_bytes() == Path("data/things/a/deep/more.bin").read_bytes())
    Path("make.py").write_text(content)
    stored.good("dvc", "repro")
    _damage(old, random.Random(4))
    done = stored.run(UNDERSTUDY, "verify")
    assert done.returncode == 5
    assert f"BAD   {old}" in done.stdout
    assert "earlier state" in done.stdout


def test_nothing_to_check_is_said(tmp_path: Path) -> None:
    """In an empty folder `verify` says that there is nothing, and that is no error."""
    done = Stored(tmp_path).run(UNDERSTUDY, "verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("nothing to check yet")
