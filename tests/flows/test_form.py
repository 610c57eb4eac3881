"""The form of a run: the settings' own schema, and what is filled in as DVC and params.yaml understand it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from flows import form
from tasks.errors import UserError
from tests.conftest import ROOT

SCALARS = st.none() | st.booleans() | st.integers(-10, 10**6) | st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=12)
VALUES = st.recursive(SCALARS | TEXT, lambda each: st.lists(each, max_size=3), max_leaves=5)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the project's own settings."""
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@settings(deadline=None)  # Hydra's parser takes a while to load
@given(VALUES)
def test_dvc_reads_what_was_filled_in(value: Any) -> None:
    """Every value comes out of Hydra's parser, which DVC uses, as it went in."""
    (argument,) = form.arguments({"a.b": value})
    (override,) = OverridesParser.create().parse_overrides([argument])
    read = override.value()

    def plain(it: Any) -> Any:
        return [plain(each) for each in it] if isinstance(it, list) else getattr(it, "text", it)

    assert (override.key_or_group, plain(read)) == ("a.b", value)


def test_the_form_is_the_settings_own_schema(here: Path) -> None:
    """Names, descriptions and limits of every key are those of params.yaml; nothing has to be filled in."""
    schema = form.changes().model_json_schema()
    curate = schema["$defs"]["R2CurateCurate"]["properties"]
    assert curate["threshold"]["maximum"] == 1
    assert curate["threshold"]["description"].startswith("Least confidence of a kept pseudo-label.")
    assert curate["threshold"]["description"].endswith("(number from 0 to 1; params.yaml: 0.6)")
    assert set(schema["properties"]["rounds"]) >= {"$ref"}
    assert set(schema["$defs"]["Rounds"]["properties"]) == {"r1", "r2"}
    assert not [name for name, part in schema["$defs"].items() if "required" in part]
    order = {name: part["position"] for name, part in schema["properties"].items()}
    assert order["seed"] == 0 < order["train"] < order["teacher"] < order["rounds"]
    assert "boolean" not in str(schema), "Prefect's page sends false for a box that nobody touched"
    for name in ("sources", "review", "schedule"):
        assert name not in schema["properties"]


def test_only_what_was_filled_in_counts(here: Path) -> None:
    """An empty form changes nothing; a null that was chosen is one; a mapping of classes stays one value."""
    kind = form.changes()
    assert form.settings_of(kind()) == {}
    assert form.settings_of(kind.model_validate({"rounds": {"r1": {}}, "teacher": {}})) == {}
    filled = {"rounds": {"r1": {"curate": {"max_share": None, "align": {"cat": 2.0}}}}, "teacher": {"steps": 5}}
    found = form.settings_of(kind.model_validate(filled))
    assert found == {
        "teacher.steps": 5,
        "rounds.r1.curate.max_share": None,
        "rounds.r1.curate.align": {"cat": 2.0},
    }
    found = form.settings_of(kind.model_validate({"teacher": {"noise": {"flip": "yes"}}, "hold": {"chance": "no"}}))
    assert found == {"teacher.noise.flip": True, "hold.chance": False}
    whole = form.refuse_wrong({"teacher.steps": 5, "rounds.r1.curate.threshold": 0.75})
    assert (whole.teacher.steps, whole.rounds["r1"].curate.threshold) == (5, 0.75)
    assert yaml.load((here / "params.yaml").read_text(), yaml.CSafeLoader)["teacher"]["steps"] == 300


def test_what_is_wrong_is_refused_before_anything_runs(here: Path) -> None:
    """A value out of range by the form itself; what only the whole settings know, in their words."""
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        form.changes().model_validate({"rounds": {"r1": {"curate": {"threshold": 2}}}})
    with pytest.raises(ValidationError, match="Extra inputs"):
        form.changes().model_validate({"rounds": {"r9": {}}})
    with pytest.raises(UserError, match="smaller than its teacher's 2"):
        form.refuse_wrong({"rounds.r1.student.net": "wrn10", "rounds.r1.student.width": 1})
