"""What DVC would only call missing is named before it starts."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.pipeline.ready import LEDGERS, refuse_unready
from tasks import files, resolutions
from tasks.decisions import HEADER
from tasks.errors import UserError
from tasks.params import Settings
from tests.conftest import ROOT


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A project with a folder as source and all its ledgers."""
    monkeypatch.chdir(tmp_path)
    Path("mine/pool").mkdir(parents=True)
    Path("data/decisions").mkdir(parents=True)
    raw: dict[str, Any] = yaml.load((ROOT / "params.yaml").read_text(), yaml.CSafeLoader)
    for round_ in raw["rounds"]:
        Path(f"data/decisions/{round_}.csv").write_text(",".join(HEADER) + "\n")
    for path, header in LEDGERS:
        path.write_text(",".join(header) + "\n")
    return Settings.model_validate(raw | {"sources": {"mine": {"kind": "folder", "path": "mine"}}})


def test_what_is_complete_passes_whatever_the_script_of_its_names(settings: Settings) -> None:
    """Spaces, other scripts and signs are no reason to refuse a name."""
    Path("mine/pool/Ünïcode 猫 #1, 😀.jpg").touch()
    refused = ""
    try:
        refuse_unready(settings)
    except UserError as error:
        refused = str(error)
    assert refused == ""


def test_a_missing_source_is_named_with_its_key(settings: Settings) -> None:
    """Not `No such file or directory` alone."""
    Path("mine/pool").rmdir()
    Path("mine").rmdir()
    with pytest.raises(UserError, match=r"sources\.mine\.path: mine does not exist"):
        refuse_unready(settings)


def test_a_round_without_ledger_says_how_to_make_one(settings: Settings) -> None:
    """The tenth round is the first one without a ledger in the repository."""
    Path("data/decisions/r2.csv").unlink()
    with pytest.raises(UserError, match=r"r2\.csv does not exist") as caught:
        refuse_unready(settings)
    assert os.system(caught.value.fix) == 0
    refuse_unready(settings)


@pytest.mark.parametrize("name", ["release", "conflicts", "audit"])
def test_a_ledger_of_the_sources_is_looked_at(settings: Settings, name: str) -> None:
    """Missing, it comes with a command that makes it; damaged, it is named before DVC starts."""
    path = Path(f"data/decisions/{name}.csv")
    path.unlink()
    with pytest.raises(UserError, match=rf"{name}\.csv does not exist") as caught:
        refuse_unready(settings)
    assert os.system(caught.value.fix) == 0
    refuse_unready(settings)
    if name == "conflicts":
        path.write_text(",".join(resolutions.HEADER) + "\nabc,ant,me,now\n")
        with pytest.raises(UserError, match=r"conflicts\.csv, line 2: image_id 'abc'"):
            refuse_unready(settings)
    path.write_text("<<<<<<< HEAD\n")
    with pytest.raises(UserError, match=rf"{name}\.csv, line 1"):
        refuse_unready(settings)


def test_a_name_that_is_no_text_is_named(settings: Settings) -> None:
    """DVC stops at it with a codec's error that names no file."""
    Path(os.fsdecode(b"mine/pool/caf\xe9.jpg")).touch()
    with pytest.raises(UserError, match=r"mine/pool/caf\\xe9\.jpg is not UTF-8"):
        refuse_unready(settings)


def test_what_dvc_cannot_read_is_named(settings: Settings) -> None:
    """DVC stops at a link to nothing and hangs at a pipe; links to files and folders are fine."""
    os.symlink("../..", "mine/pool/loop")
    os.symlink("../../data/decisions/r1.csv", "mine/pool/link.jpg")
    refuse_unready(settings)
    os.symlink("nowhere", "mine/pool/gone.jpg")
    with pytest.raises(UserError, match=r"pool/gone\.jpg is a link to nothing"):
        refuse_unready(settings)
    Path("mine/pool/gone.jpg").unlink()
    os.mkfifo("mine/pool/pipe.jpg")
    with pytest.raises(UserError, match=r"pool/pipe\.jpg is a pipe"):
        refuse_unready(settings)


def test_weights_that_are_not_there_are_named(settings: Settings) -> None:
    """Before DVC starts, which would say only that something is missing."""
    start = settings.teacher.start.model_copy(update={"weights": "animals.safetensors"})
    chosen = settings.model_copy(update={"teacher": settings.teacher.model_copy(update={"start": start})})
    with pytest.raises(UserError, match=r"teacher\.start\.weights: data/start/animals\.safetensors does not exist"):
        refuse_unready(chosen)
    files.STARTS.mkdir(parents=True)
    (files.STARTS / "animals.safetensors").touch()
    refuse_unready(chosen)
