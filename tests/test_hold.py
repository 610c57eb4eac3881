"""Rounds that are held before a student learns, by what the teacher said of held-out labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks import files, hold
from tasks.errors import Held
from tasks.params import Settings
from tasks.stage import Stage
from tests import fabricated

CLASSES = ["ant", "bee", "cow"]


def _teacher(says: list[int], given: list[int], n: int = 60) -> Path:
    """A champion that says class `says[i % 3]`, surely, of images that were given class `given[i % 3]`."""
    ids = [f"{i:064x}" for i in range(n)]
    rows = np.eye(3)[[says[i % 3] for i in range(n)]] * 0.85 + 0.05
    labels = {image_id: CLASSES[given[i % 3]] for i, image_id in enumerate(ids)}
    fabricated.answers("r0", CLASSES, dict(zip(ids, rows.tolist(), strict=True)), labels)
    return files.champion("r0")


@pytest.mark.parametrize(
    ("says", "given", "n", "code"),
    [
        ([0, 1, 2], [0, 1, 2], 60, None),
        ([1, 2, 0], [0, 1, 2], 60, "teacher_by_chance"),
        ([0, 0, 0], [0, 1, 2], 60, "teacher_by_chance"),
        ([0, 1, 1], [0, 1, 2], 60, "label_errors"),
        ([1, 2, 0], [0, 1, 2], 18, None),
    ],
)
def test_a_teacher_that_held_out_labels_speak_against_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: list[int], given: list[int], n: int, code: str | None
) -> None:
    """Permuted classes and one class for all are chance, a third surely contradicted is label errors (a bound of 24 %
    above 20 %); with 18 labels nothing is said."""
    monkeypatch.chdir(tmp_path)
    rules = fabricated.settings().hold.model_copy(update={"max_label_error": 0.2})
    teacher = _teacher(says, given, n)
    if code is None:
        hold.refuse_teacher(rules, "r0", teacher, CLASSES)
        return
    with pytest.raises(Held) as error:
        hold.refuse_teacher(rules, "r0", teacher, CLASSES)
    assert (error.value.code, error.value.exit_code) == (code, 4)


def _settings(**limits: Any) -> Settings:
    settings = fabricated.settings()
    return settings.model_copy(update={"hold": settings.hold.model_copy(update=limits)})


def _labels(says: dict[str, int]) -> dict[str, tuple[str | None, float, str]]:
    """A label table that teaches so many images of each class."""
    names = [name for name, n in says.items() for _ in range(n)]
    return {f"{i:064x}": (name, 0.9, "kept") for i, name in enumerate(names)}


@pytest.mark.parametrize(
    ("before", "kept_C", "least", "code"),
    [
        ({"ant": 30, "bee": 30, "cow": 30}, [40, 45, 5], 0.8, "classes_lost"),  # 2.4 of 3 classes, below 80 %
        ({"ant": 30, "bee": 30, "cow": 30}, [40, 45, 5], 0.7, None),
        ({"ant": 30, "bee": 30, "cow": 30}, [30, 30, 10], 0.8, None),
        ({"ant": 80, "bee": 8, "cow": 2}, [80, 8, 2], 0.8, None),  # skewed before, and no more now
        ({}, [40, 45, 5], 0.8, None),  # the first round: nothing to compare with
    ],
)
def test_classes_that_thin_out_between_rounds_are_held(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: dict[str, int],
    kept_C: list[int],
    least: float,
    code: str | None,
) -> None:
    """exp(entropy) of the kept labels below hold.min_classes of the round before: exit 4, with both numbers."""
    monkeypatch.chdir(tmp_path)
    settings = _settings(min_classes=least)
    fabricated.split(CLASSES, train=dict.fromkeys(["a", "b"], "ant"), pool={}, test={})
    fabricated.label_table("r1", _labels(before))
    args = (Stage("curate@r2", settings, []), "r1", CLASSES, np.array(kept_C), np.zeros(3, bool))
    if code is None:
        hold.refuse_labels(*args)
        return
    with pytest.raises(Held, match=r"spread over 2\.4 classes .* those of r1 over 3\.0: less than .* 80%") as error:
        hold.refuse_labels(*args)
    assert (error.value.code, error.value.exit_code) == (code, 4)


def test_a_class_with_many_labels_and_no_pseudo_label_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named with its labels; left empty on purpose, or with the rule off, it is not."""
    monkeypatch.chdir(tmp_path)
    settings = fabricated.settings()
    fabricated.split(CLASSES, train={f"{i:064x}": CLASSES[i % 3] for i in range(30)}, pool={}, test={})
    fabricated.label_table("r0", {})
    stage, kept_C = Stage("curate@r1", settings, []), np.array([100, 100, 0])
    with pytest.raises(Held, match=r"none of 200 pseudo-labels: 'cow' \(10 labels\)") as error:
        hold.refuse_labels(stage, "r0", CLASSES, kept_C, np.zeros(3, bool))
    assert (error.value.code, error.value.exit_code) == ("class_starved", 4)
    hold.refuse_labels(stage, "r0", CLASSES, kept_C, np.array([False, False, True]))
    stage = Stage("curate@r1", _settings(starvation=False), [])
    hold.refuse_labels(stage, "r0", CLASSES, kept_C, np.zeros(3, bool))
