"""Rows of manifest tables that name a file another row names: a mere repetition, or a contradiction to be mended."""

import posixpath
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Named:
    """A row that names a file: where it stands, and what it says about the file."""

    table: str
    number: int
    line: int | None
    path: str
    says: tuple[str | None, str]  # label and origin

    def where(self) -> str:
        """The place in words, as in `train.csv, row 3 (line 4)`."""
        return f"{self.table}, row {self.number}" + (f" (line {self.line})" if self.line else "")


class Twins:
    """Which rows name a path for the second time. Exact; of a path that stands there once only a hash is kept."""

    def __init__(self, rows: Callable[[], Iterable[Named]]) -> None:
        """`rows` gives all rows in order, each time it is called: a second time only if a path may be there twice."""
        seen, again = set[int](), set[int]()
        for row in rows():
            value = hash(_plain(row.path))
            (again if value in seen else seen).add(value)
        self._first: dict[str, Named] = {}
        for row in rows() if again else ():
            if hash(path := _plain(row.path)) in again:
                self._first.setdefault(path, row)

    def is_repetition(self, row: Named) -> bool:
        """Whether a row before this one says the same."""
        first = self._first.get(_plain(row.path), row)
        return (first.table, first.number) != (row.table, row.number) and first.says == row.says

    def contradictions(self, row: Named) -> Iterator[str]:
        """What is wrong when a row before this one says something else about the same file."""
        first = self._first.get(_plain(row.path), row)
        if first.says != row.says:
            label, origin = first.says
            yield f"path {row.path!r} stands in {first.where()} already, as {label!r} in {origin}"


def _plain(path: str) -> str:
    """`./a.png` and `a//b.png` name the same files as `a.png` and `a/b.png`."""
    return posixpath.normpath(path)
