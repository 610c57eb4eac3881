"""What every command needs of the terminal: tables, the name of who is at work, and an exit code."""

import getpass
import os
import subprocess
import sys
from collections.abc import Callable
from typing import NoReturn

import typer

WIDE = 1000  # columns, where no terminal says how many there are
READER_GONE = 141  # 128 + SIGPIPE: what a shell reports


def print_table(title: str, rows: list[dict[str, object]]) -> None:
    """Rows under their columns; the first row that has a column places it. No number is ever cut: a narrow terminal
    breaks lines, and a file or a pipe has room for all."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    for column in columns:
        shown.add_column(column, justify="left" if column == "round" else "right", overflow="fold")
    for row in rows:
        shown.add_row(*(escape(str(row.get(column, ""))) for column in columns))
    Console(width=None if sys.stdout.isatty() else WIDE).print(shown)


def git_user() -> str:
    """Who is at work: git's user.name, else the login name."""
    done = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or getpass.getuser()


def leave(action: Callable[[], int | None]) -> NoReturn:
    """End with the exit code of an action; a user's error is printed without traceback."""
    from tasks.errors import exit_code

    codes: list[int] = []

    def act() -> None:
        try:
            codes.append(action() or 0)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever reads, such as `| head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            codes.append(READER_GONE)

    failed = exit_code(act)
    raise typer.Exit(failed or codes[0])
