"""Settings are strict: 60 mutations, each refused before work with key, range and nearest key (bar B15)."""

import re
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.errors import UserError
from tasks.params import Settings, load
from tests.conftest import ROOT, Project

GOOD: dict[str, Any] = yaml.load((ROOT / "params.yaml").read_text(), yaml.CSafeLoader)


def _leaves(node: Any, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(node, dict):
        return [prefix]
    return [leaf for key, value in node.items() for leaf in _leaves(value, (*prefix, key))]


LEAVES = _leaves(GOOD)


def _refusal(settings: Any, tmp_path: Path) -> str:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.dump(settings, Dumper=yaml.CSafeDumper, sort_keys=False))
    with pytest.raises(UserError) as caught:
        load(path)
    return str(caught.value)


def _with(leaf: tuple[str, ...], value: Any) -> Any:
    settings = deepcopy(GOOD)
    node = settings
    for key in leaf[:-1]:
        node = node[key]
    node[leaf[-1]] = value
    return settings


@pytest.mark.parametrize("leaf", LEAVES, ids=".".join)
def test_wrong_type_names_the_key_and_what_is_allowed(leaf: tuple[str, ...], tmp_path: Path) -> None:
    """A list where a value belongs is refused at every key."""
    text = _refusal(_with(leaf, ["oops"]), tmp_path)
    assert ".".join(leaf) in text
    assert "oops" in text
    assert "allowed: " in text


@pytest.mark.parametrize("leaf", LEAVES, ids=".".join)
def test_a_typo_names_the_nearest_key(leaf: tuple[str, ...], tmp_path: Path) -> None:
    """`treshold` is answered with `threshold`, at every level."""
    settings = deepcopy(GOOD)
    node = settings
    for key in leaf[:-1]:
        node = node[key]
    typo = leaf[-1] + "x"
    node[typo] = node.pop(leaf[-1])
    text = _refusal(settings, tmp_path)
    assert f"{'.'.join((*leaf[:-1], typo))}: unknown key; did you mean '{leaf[-1]}'" in text


@pytest.mark.parametrize(
    ("leaf", "value", "allowed"),
    [
        ("rounds.r1.curate.threshold", 95, "number from 0 to 1"),
        ("rounds.r1.curate.threshold", "0,9", "number from 0 to 1"),
        ("rounds.r1.curate.per_class", 0, "whole number from 1 or 'mean' or null"),
        ("rounds.r1.curate.labels", "sof", "'soft' or 'hard'"),
        ("rounds.r2.teacher", "r5", "known: r0, r1"),
        ("rounds.r1.student.width", 0, "whole number from 1 to 64"),
        ("image.channels", 2, "1 or 3"),
        ("teacher.net", "wrn99", "known: alexnet"),
        ("teacher.net", "auto", "auto grows a teacher's net, so it is for students"),
        ("train.accumulate", 7, "7 does not divide train.batch (50) evenly"),
        ("train.processes", 2, "2 cannot share the 1 parts of a step evenly; set train.accumulate to a multiple of 2"),
        ("baseline.net", "lenet5", "set stochastic_depth to 0"),
        ("train.lr", float("nan"), "number above 0"),
        ("seed", 1.5, "whole number"),
        ("teacher.noise.flip", "no", "true or false"),
    ],
)
def test_out_of_range_names_the_range(leaf: str, value: Any, allowed: str, tmp_path: Path) -> None:
    """Values out of range are refused with the range in words."""
    text = _refusal(_with(tuple(leaf.split(".")), value), tmp_path)
    assert leaf in text
    assert allowed in text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            {"kind": "foldr", "path": "x"},
            "sources.own.kind: is none of the kinds of a source; got 'foldr'; did you mean",
        ),
        ({"path": "x"}, "sources.own.kind: missing; allowed: 'digits' or 'folder' or 'manifest' or 'torchvision'"),
        ({"kind": "folder", "path": "x", "layuot": "pool"}, "sources.own.layuot: unknown key; did you mean 'layout'"),
        ({"kind": "folder", "path": "x", "layout": "pol"}, "'understudy' or 'split' or 'classes' or 'pool'"),
        (
            {"kind": "manifest", "path": "x", "layout": "pool"},
            "sources.own.layout: unknown key; known here: kind, path",
        ),
        ({"kind": "torchvision", "path": "x"}, "sources.own.name: missing; allowed: 'MNIST' or"),
        ({"kind": "torchvision", "path": "x", "name": "CIFAR"}, "got 'CIFAR'; allowed: 'MNIST' or"),
        ("folder", "sources.own: "),
    ],
)
def test_each_kind_of_source_has_its_own_keys(source: Any, message: str, tmp_path: Path) -> None:
    """A key of another kind, a kind that is none, and a missing key are named under the source."""
    settings = deepcopy(GOOD)
    settings["sources"]["own"] = source
    assert message in _refusal(settings, tmp_path)


def test_a_student_smaller_than_its_teacher_is_refused(tmp_path: Path) -> None:
    """Noisy Student never shrinks the net."""
    settings = _with(("rounds", "r1", "student", "width"), 1)
    settings["teacher"]["width"] = 2
    settings["teacher"]["net"] = settings["rounds"]["r1"]["student"]["net"]
    assert "rounds.r1.student.width: 1 is smaller than its teacher's 2" in _refusal(settings, tmp_path)


def test_all_mistakes_are_listed_at_once(tmp_path: Path) -> None:
    """Two mistakes, one answer."""
    settings = _with(("seed",), -1)
    settings["train"]["lr"] = 0
    text = _refusal(settings, tmp_path)
    assert "seed" in text
    assert "train.lr" in text


def test_every_key_is_described() -> None:
    """docs/params.md and the errors quote these descriptions."""

    def walk(model: Any) -> None:
        for name, field in model.model_fields.items():
            assert field.description, name

    for section in (
        Settings,
        *(f.annotation for f in Settings.model_fields.values() if hasattr(f.annotation, "model_fields")),
    ):
        walk(section)


def test_docs_are_generated_from_the_settings() -> None:
    """docs/params.md is what `make docs` prints now."""
    done = subprocess.run(
        [sys.executable, "-m", "tasks.params_doc"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (ROOT / "docs/params.md").read_text() == done.stdout


def test_a_stage_refuses_a_typo_before_any_work(project: Project) -> None:
    """Exit 2 in under two seconds on an idle machine (four here), without a traceback, nothing touched."""
    project.edit(lambda settings: settings["rounds"]["r1"]["curate"].update(treshold=0.9))
    before = sorted(p.as_posix() for p in (project.folder / "data").rglob("*"))
    start = time.monotonic()
    done = project.stage("student", "r1")
    assert time.monotonic() - start < 4
    assert done.returncode == 2
    assert "did you mean 'threshold'" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(p.as_posix() for p in (project.folder / "data").rglob("*")) == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"# nothing\n", "is empty"),
        (b"hello\n", "not keys and values"),
        (b"- seed: 0\n", "not keys and values"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"seed: 0\n\tsplit: 1\n", "is not YAML"),
        (b"seed: 0\nseed: 1\n", "'seed' stands here a second time; the first one is in line 1"),
    ],
    ids=["empty", "comment", "text", "list", "utf16", "tab", "twice"],
)
def test_a_file_without_settings_is_the_users_mistake(content: bytes, said: str, tmp_path: Path) -> None:
    """Whatever the file holds, the answer names it and is no mistake of ours."""
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        load(path)
    assert str(path) in caught.value.what


def test_a_copied_round_that_was_not_renamed_is_refused(tmp_path: Path) -> None:
    """Adding a round by copying a block: a second r2 would silently take the place of the first, and DVC refuses it."""
    text = (ROOT / "params.yaml").read_text()
    start = text.index("  r2:")
    end = text.index("\n\n", start) + 2
    path = tmp_path / "params.yaml"
    path.write_text(text[:end] + text[start:end] + text[end:])
    with pytest.raises(UserError, match="'r2' stands here a second time"):
        load(path)


def test_numbers_are_read_as_dvc_reads_them(tmp_path: Path) -> None:
    """1e-3 is a number to DVC (YAML 1.2) and to us."""
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text().replace("lr: 0.1", "lr: 1e-3"))
    assert load(path).train.lr == 0.001


@pytest.mark.parametrize(
    ("section", "name"),
    [("sources", "My-Images"), ("sources", "r1"), ("sources", "a"), ("rounds", "round2"), ("distill", "A")],
)
def test_a_bad_name_of_an_entry_says_which_are_good(section: str, name: str, tmp_path: Path) -> None:
    """Words, not a pattern, and not the whole entry."""
    settings = deepcopy(GOOD)
    student = {key: value for key, value in settings["rounds"]["r1"]["student"].items() if key != "grow"}
    settings["distill"] = {"small": {**student, "temperature": 2.0, "labels": True, "images": 100}}
    settings[section][name] = deepcopy(next(iter(settings[section].values())))
    text = _refusal(settings, tmp_path)
    assert f"{section}.{name}: a name that cannot stand under {section}; allowed: " in text
    assert "pattern" not in text
    assert len(text.replace(str(tmp_path), "")) < 330
