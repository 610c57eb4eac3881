"""Names of folders and files: safe everywhere, reversible, never the same for two."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.errors import UserError
from tasks.export.names import RESERVED, class_folder, class_of, file_name

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
PNG, JPEG = b"\x89PNG\r\n\x1a\n" + b"x" * 8, b"\xff\xd8\xff" + b"x" * 13


def _safe(name: str) -> bool:
    """No separator, no way up, nothing hidden, no option, no device of Windows, at most 255 bytes."""
    return (
        name not in {"", ".", ".."}
        and not re.search(r'[\x00-\x1f\x7f/\\:*?"<>|]', name)
        and name[0] not in ".-~ "
        and name[-1] not in ". "
        and not RESERVED.fullmatch(name)
        and len(name.encode()) <= 255
    )


@given(TEXT, TEXT)
@example("../x", "a/b")
@example("", "%")
@example(".", "%2E")
@example("CON", "con.txt")
def test_class_folders_are_safe_and_turn_back(one: str, other: str) -> None:
    """Any class name becomes a safe folder name, and back; two classes never share one."""
    for name in (one, other):
        folder = class_folder(name)
        assert _safe(folder)
        assert class_of(folder) == name
        if one != other:
            assert class_folder(one) != class_folder(other) or name is other


@given(st.sampled_from("0123456789abcdef").map(lambda digit: digit * 64), TEXT, st.sampled_from([PNG, JPEG]))
@example("0" * 64, "a/" + "ü" * 200 + ".png", PNG)
@example("0" * 64, "..", PNG)
@example("0" * 64, "photo.jfif", JPEG)
def test_file_names_are_safe_and_carry_the_id_and_the_right_suffix(image_id: str, path: str, content: bytes) -> None:
    """Whatever a file was called: safe, begins with its id, and its suffix is what readers choose the format by."""
    name = file_name(image_id, path, content)
    assert _safe(name)
    assert name.startswith(image_id[:16])
    assert name.lower().endswith((".png",) if content is PNG else (".jpg", ".jpeg"))


def test_a_good_name_stays() -> None:
    """What needs no change is not changed."""
    assert class_folder("golden retriever (young)") == "golden retriever (young)"
    assert file_name("ab" * 32, "pool/IMG 1.JPG", JPEG) == "abababababababab-IMG 1.JPG"
    with pytest.raises(UserError, match="255"):
        class_folder("x" * 256)
