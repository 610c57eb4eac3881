"""What FiftyOne is told of the plugin; what its buttons and keys do is in test_clicks.py and tests/ui."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tasks.review import database, workspaces
from tasks.review.plugin import acts

names = st.lists(st.one_of(st.sampled_from(["0", "1", "9", "12", "reject", "a"]), st.text()), unique=True, max_size=14)


@given(names)
def test_each_digit_is_one_class_and_a_class_that_is_a_digit_has_its_own(classes: list[str]) -> None:
    """The others get what is left in their order, 1 first and 0 last, as far as it goes."""
    keys = acts.keys(classes)
    own = [name for name in classes if name in list(acts.DIGITS)]
    others = [name for name in classes if name not in own]
    left = [digit for digit in acts.DIGITS if digit not in own]
    assert {name: name for name in own}.items() <= keys.items()
    assert [keys[digit] for digit in left if digit in keys] == others[: len(left)]
    assert len(keys) == min(len(acts.DIGITS), len(classes)) or len(own) > len(acts.DIGITS)


def test_a_blind_audit_offers_neither_buttons_nor_lineage(fo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is registered for its server; a review's server gets exactly what the plugin's page lists."""
    from tasks.review.plugin import entry

    class Registry:
        def __init__(self) -> None:
            self.names: list[str] = []

        def register(self, kind: Any) -> None:
            self.names.append(kind().config.name)

    monkeypatch.setenv(database.BLIND, "1")
    entry.register(blind := Registry())
    monkeypatch.setenv(database.BLIND, "")
    entry.register(open_ := Registry())
    page = yaml.load((database.PLUGIN / "fiftyone.yml").read_text(), yaml.CSafeLoader)
    assert blind.names == []
    assert sorted(open_.names) == sorted(page["operators"] + page["panels"])
    assert page["panels"] == [workspaces.PANEL, workspaces.MAP_PANEL]


def test_the_keys_in_the_browser_are_those_of_the_acts() -> None:
    """keys.js is JavaScript: its table and its names are held against Python's."""
    script = (database.PLUGIN / "keys.js").read_text()
    table = ", ".join(f'{act.key}: "{act.name}"' for act in acts.ACTS if act.key)
    assert f"const ACTS = {{ {table} }};" in script
    assert f'"{workspaces.PANEL}"' in script
