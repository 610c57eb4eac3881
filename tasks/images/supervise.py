"""Records checked by worker processes that may die, in the order they came.

A record carries its id, label and bytes together, so a bad file costs its own row and never moves a label to another
image. A chunk whose worker died is asked again record by record: the one that kills a worker alone is the guilty one.
"""

import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

from tasks import params
from tasks.images.check import Sound
from tasks.images.record import Record, Refusal
from tasks.images.worker import CHECK, PIPE_BYTES, READY, Seen

FIRST, MOST, CHUNK_BYTES = 16, 256, 2**19  # records in the first chunk, in any chunk; bytes wanted in a chunk
ROOT = Path(__file__).resolve().parents[2]


class Checked(NamedTuple):
    """A record after its check; `content` is empty when it was refused, `image_id` None when it was never read.

    `seen` is what the file was like when it was read; None where nothing was read.
    """

    record: Record
    image_id: str | None
    content: bytes
    verdict: Sound | Refusal
    seen: Seen | None = None


class Died(Exception):
    """A worker ended in the middle of an answer."""


@contextmanager
def crew(ingest: params.Ingest, check: str = CHECK) -> Iterator[list["Worker"]]:
    """A worker process per core, each started when it is first asked or `start`ed; they end with the block.

    `check` is the import path of the function that judges bytes, (content, path, max_pixels) -> Sound | Refusal.
    """
    workers = [Worker(ingest, check) for _ in range(os.cpu_count() or 1)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.close()


def check_all(workers: list["Worker"], records: Iterable[Record]) -> Iterator[Checked]:
    """Check records by a crew; they come out in their order, and only a few are in memory at a time."""
    todo, cores = iter(records), len(workers)
    idle = SimpleQueue[Worker]()
    for worker in workers:
        idle.put(worker)

    def work(chunk: list[Record]) -> list[Checked]:
        worker = idle.get()
        try:
            return _ask_all(worker, chunk)
        finally:
            idle.put(worker)

    running: deque[Future[list[Checked]]] = deque()
    size = FIRST
    with ThreadPoolExecutor(cores) as pool:
        while True:
            while len(running) < 2 * cores and (chunk := list(islice(todo, size))):
                running.append(pool.submit(work, chunk))
            if not running:
                return
            done = running.popleft().result()
            mean = sum(len(checked.content) for checked in done) // len(done)
            size = max(1, min(MOST, CHUNK_BYTES // (mean + 1)))
            yield from done


def _ask_all(worker: "Worker", chunk: list[Record]) -> list[Checked]:
    try:
        return worker.ask(chunk)
    except Died:
        pass
    checked = []
    for record in chunk:
        try:
            checked += worker.ask([record])
        except Died:
            checked.append(Checked(record, None, b"", worker.cause()))
    return checked


class Worker:
    """One worker process, started again after it died. Used by one thread at a time."""

    def __init__(self, ingest: params.Ingest, check: str) -> None:
        limits = ingest.model_dump(include={"max_pixels", "max_seconds", "max_memory_mb"})
        self._options = json.dumps({**limits, "check": check})
        self._max_seconds = ingest.max_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = False
        self._exit_code = 0

    def cause(self) -> Refusal:
        """Why an image is refused of which the process died."""
        if self._exit_code == -signal.SIGALRM:
            return Refusal("decoder_timeout", f"not decoded within ingest.max_seconds: {self._max_seconds:g}")
        how = signal.Signals(-self._exit_code).name if self._exit_code < 0 else f"exit code {self._exit_code}"
        return Refusal("decoder_crash", f"the process that decoded it died of it: {how}")

    def ask(self, records: list[Record]) -> list[Checked]:
        """The verdicts on some records. Died when the process ended before it gave them all."""
        asked = [record for record in records if not isinstance(record.content, Refusal)]
        answers = iter(self._talk(asked) if asked else [])
        return [
            Checked(record, None, b"", record.content) if isinstance(record.content, Refusal) else next(answers)
            for record in records
        ]

    def _talk(self, records: list[Record]) -> list[Checked]:
        process = self._ready()
        assert process.stdin is not None
        assert process.stdout is not None
        own = [record.content if isinstance(record.content, bytes) else b"" for record in records]
        items = [_item(record) for record in records]
        try:
            process.stdin.write(json.dumps(items).encode() + b"\n")
            process.stdin.writelines(content for content in own if content)
            process.stdin.flush()
            rows, read = self._rows(process.stdout.readline()), process.stdout.read
            return [
                _checked(record, row, content or self._exactly(read(row[1]), row[1]))
                for record, row, content in zip(records, rows, own, strict=True)
            ]
        except (BrokenPipeError, ConnectionResetError):
            raise self._dead() from None

    def _rows(self, line: bytes) -> list[Any]:
        """image_id, bytes that follow, verdict, and size, time and inode for each record."""
        if not line.endswith(b"\n"):
            raise self._dead()
        said = json.loads(line)
        if isinstance(said, str):
            raise RuntimeError(f"a worker that checks images failed:\n{said}")
        verdicts = [Refusal(*fields) if len(fields) == 2 else Sound(*fields) for fields in said[0]]
        return [(image_id, size, verdicts[number], tuple(seen)) for image_id, size, number, *seen in said[1]]

    def _exactly(self, content: bytes, size: int) -> bytes:
        if len(content) < size:
            raise self._dead()
        return content

    def _dead(self) -> Died:
        process, self._process = self._process, None
        assert process is not None
        self._exit_code = _end(process)
        return Died()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the process, and do not wait for it.

        Without site: its modules are found where ours are, and start-up files of packages cost time.
        """
        paths = os.pathsep.join([str(ROOT), *(path or os.getcwd() for path in sys.path)])
        self._is_ready = False
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-P", "-m", "tasks.images.worker", self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
            bufsize=PIPE_BYTES,
            pipesize=PIPE_BYTES,
        )
        return self._process

    def _ready(self) -> subprocess.Popen[bytes]:
        process = self._process or self.start()
        assert process.stdout is not None
        if not self._is_ready and process.stdout.readline() != READY:
            self._process = None
            raise RuntimeError(f"a worker that checks images did not start: exit code {_end(process)}")
        self._is_ready = True
        return process

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._dead()


def _item(record: Record) -> str | list[Any]:
    """What the worker is asked about a record: see its `_answer`."""
    assert not isinstance(record.content, Refusal)
    if isinstance(record.content, bytes):
        return [record.path, len(record.content), record.released]
    return record.content if record.released is None else [record.content, None, record.released]


def _end(process: subprocess.Popen[bytes]) -> int:
    for pipe in (process.stdin, process.stdout):
        try:
            if pipe is not None:
                pipe.close()
        except BrokenPipeError:
            pass
    return process.wait()


def _checked(record: Record, row: tuple[Any, ...], content: bytes) -> Checked:
    image_id, _, verdict, seen = row
    return Checked(record, image_id, b"" if isinstance(verdict, Refusal) else content, verdict, seen)
