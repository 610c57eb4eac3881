"""What commands print: numbers whole, in a pipe as in a narrow terminal."""

import pytest

from flows.commands.terminal import print_table

ROWS: list[dict[str, object]] = [
    {"round": "r1", **{f"a long name {n}": f"{n}.5 to 99.{n} %" for n in range(9)}},
]


def test_a_table_in_a_pipe_is_not_cut(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich takes 80 columns where there is no terminal; an interval that ends in an ellipsis says nothing."""
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table("numbers", ROWS)
    said = capsys.readouterr().out
    assert "…" not in said
    assert all(str(value) in said for value in ROWS[0].values())


def test_a_narrow_terminal_breaks_numbers_and_loses_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """80 columns, the least there is, and 30 more than they hold."""
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_table("numbers", ROWS)
    said = capsys.readouterr().out
    assert "…" not in said
    assert max(map(len, said.splitlines())) <= 80
    assert all(f"99.{n}" in said for n in range(9))
