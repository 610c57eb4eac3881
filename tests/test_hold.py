"""Rounds that are held before a student learns, by what the teacher said of held-out labels."""

from pathlib import Path

import numpy as np
import pytest

from tasks import files, hold
from tasks.errors import Held
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
