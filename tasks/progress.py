"""Progress a person can follow: a bar on a terminal; a line now and then for whoever asks for lines, as a run's page in
Prefect does; in any other log nothing but how long it took, and nothing at all for short work."""

import os
import sys
import time
from types import TracebackType
from typing import Any

EVERY = 15.0  # seconds between two lines
LINES = "UNDERSTUDY_PROGRESS"  # the environment of who asks for lines


class Progress:
    """Counts `done` of `total` units of work and shows rate and time left.

        with Progress(len(ids), "label@r1", "images") as progress:
            progress.advance(len(batch))

    `done` starts above 0 where an interrupted run goes on; the rate counts only what this run did.
    """

    def __init__(self, total: int, what: str, unit: str, done: int = 0) -> None:
        self.total, self.what, self.unit, self.done = total, what, unit, done
        self._before = done
        self._bar: Any = None
        self._note = ""

    def __enter__(self) -> "Progress":
        self._start = self._said = time.monotonic()
        if sys.stdout.isatty():
            self._bar = _bar(self.unit)
            self._bar.start()
            self._task = self._bar.add_task(self.what, total=self.total, completed=self.done)
        return self

    def advance(self, n: int, note: str = "") -> None:
        """`n` more units are done; `note` says how it goes, as in `loss 0.412`."""
        self.done, self._note = self.done + n, note
        if self._bar:
            self._bar.update(self._task, completed=self.done, description=" ".join([self.what, note]).strip())
        elif LINES in os.environ and time.monotonic() - self._said >= EVERY and self.done < self.total:
            self._said = time.monotonic()
            print(self._line(), flush=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()
        elif kind is None and (seconds := time.monotonic() - self._start) >= EVERY:
            print(f"{self.what}: {self.done - self._before:,} {self.unit} in {clock(seconds)}", flush=True)

    def _line(self) -> str:
        rate = (self.done - self._before) / (time.monotonic() - self._start)
        left = f", {clock((self.total - self.done) / rate)} left" if rate > 0 else ""
        note = f", {self._note}" if self._note else ""
        per_second = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        return f"{self.what}: {self.done:,} of {self.total:,} {self.unit}, {per_second}/s{note}{left}"


def _bar(unit: str) -> Any:
    from rich import progress as rich
    from rich.text import Text

    class Rate(rich.ProgressColumn):
        def render(self, task: rich.Task) -> Text:
            return Text(f"{unit}, {task.speed or 0:,.1f}/s")

    return rich.Progress(
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        Rate(),
        rich.TimeRemainingColumn(),
    )


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
