"""`understudy rollback` over several rounds: real git, real DVC, nets that are a few bytes."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from flows.rollback import rollback
from tasks import files, verdicts
from tasks.errors import UserError
from tasks.params import load
from tests import fabricated
from tests.conftest import ROOT, Project

ROUNDS = ("r0", "r1", "r2", "r3", "r4")
NET_OF = {"r0": "r0", "r1": "r1", "r2": "r2", "r3": "r2", "r4": "r4"}  # the student of r3 was held


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Four rounds behind, of which r3's student was held; no git and no DVC."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "data/decisions", "data/decisions")
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    made = Project(tmp_path)

    def add(raw: dict[str, Any]) -> None:
        raw["rounds"] |= {key: raw["rounds"]["r2"] | {"teacher": f"r{int(key[1]) - 1}"} for key in ("r3", "r4")}

    made.edit(add)
    for key in ROUNDS:
        decision = {"round": key, "champion": NET_OF[key], "promoted": NET_OF[key] == key, "holds": 0, "stop": False}
        net = NET_OF[key]
        content = {"weights__safetensors": net.encode() * 9, "card": {"key": net}, "decision": decision}
        fabricated.publish(files.champion(key), **content)
    return made


def _deployed() -> tuple[str, bytes]:
    files.verify(files.CHAMPION)
    card = files.read_json(files.CHAMPION / "card.json")
    return card["key"], (files.CHAMPION / "weights.safetensors").read_bytes()


def test_back_and_further_back_in_one_step_each(project: Project) -> None:
    """Without a round to the champion before (r4 to r2: r3 never was one), then to r1 by name: data/champion is that
    net, byte for byte, DVC has nothing left to do, and the ledger says who, why and which students are held."""
    shutil.copytree(ROOT / "tasks", "tasks", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, name)
    for command in (("git", "init", "-q", "-b", "main"), ("dvc", "init", "-q")):
        assert project.run(*command).returncode == 0
    assert project.repro("-s", "champion") == ["champion"]
    assert _deployed() == ("r4", b"r4" * 9)
    done = project.run("understudy", "rollback", "--why", "customers complain", "--who", "Ada")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "data/champion is now the net r2; it was r4" in done.stdout
    assert "holds r3, r4: later rounds are labeled by r2" in done.stdout
    assert _deployed() == ("r2", b"r2" * 9)
    done = project.run("understudy", "rollback", "r1", "--why", "still not right", "--who", "Bob")
    assert done.returncode == 0, done.stdout + done.stderr
    assert _deployed() == ("r1", b"r1" * 9)
    made = files.read_json(files.CHAMPION / "decision.json")
    assert (made["champion"], made["rolled_back"]["who"], made["rolled_back"]["why"]) == (
        "r1",
        "Bob",
        "still not right",
    )
    assert project.repro("-s", "champion") == []
    words = verdicts.read(files.CHAMPION_WORDS)
    assert [(word.action, word.round, word.over, word.who) for word in words] == [
        ("rollback", "r2", "r4", "Ada"),
        ("rollback", "r1", "r4", "Bob"),
    ]
    assert {key: word.who for key, word in verdicts.by_round(words).items()} == dict.fromkeys(("r2", "r3", "r4"), "Bob")


@pytest.mark.parametrize(
    ("target", "why", "code"),
    [
        ("r9", "why", "unknown_round"),
        ("r3", "why", "never_champion"),
        ("r4", "why", "already_champion"),
        ("r1", "  ", "no_reason"),
    ],
)
def test_what_cannot_be_gone_back_to_changes_nothing(project: Project, target: str, why: str, code: str) -> None:
    """A round that is none, a student that was held, the champion itself, or no reason: refused, no row written."""
    before = files.CHAMPION_WORDS.read_bytes()
    with pytest.raises(UserError) as error:
        rollback(load(), target, "Ada", why)
    assert (error.value.code, error.value.exit_code) == (code, 2)
    assert error.value.fix
    assert files.CHAMPION_WORDS.read_bytes() == before


def test_a_champion_that_is_damaged_is_not_gone_back_to(project: Project) -> None:
    """Its bytes are checked first: exit 5, no row, and what is deployed stays."""
    (files.champion("r1") / "weights.safetensors").write_bytes(b"other")
    done = project.run("understudy", "rollback", "r1", "--why", "why", "--who", "Ada")
    assert done.returncode == 5, done.stdout + done.stderr
    assert "data/champions/r1" in done.stderr
    assert verdicts.read(files.CHAMPION_WORDS) == []


def test_the_first_champion_has_none_before_it(project: Project) -> None:
    """After a way back to r0 there is nothing to go back to, and it is said so."""
    verdicts.append(files.CHAMPION_WORDS, verdicts.Word("rollback", "r0", "r4", "Ada", "2026-01-01T00:00:00Z", "why"))
    with pytest.raises(UserError) as error:
        rollback(load(), None, "Ada", "why")
    assert error.value.code == "first_champion"
