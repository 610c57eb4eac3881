"""A process that reads, hashes and checks images, and may die of one: `python -m tasks.images.worker JSON`.

It speaks over its pipes: a JSON line and after it the bytes that the line announces. The parent believes nothing of it
but texts and numbers (no pickle), and sees from its end which image killed it. It loads Pillow and the standard library
alone: it starts in a fraction of a second and takes a few megabytes.
"""

import hashlib
import json
import os
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from importlib import import_module
from io import BufferedWriter, FileIO
from typing import Any, BinaryIO

from tasks.images.record import Refusal
from tasks.images.sniff import HEAD, sniff

CHECK = "tasks.images.check:check"
READY = b"ready\n"
PIPE_BYTES = 2**20  # Linux lets any user have a pipe as large as this
TIMED_TOGETHER = 8  # images that share the time of one
SMALL = 2**20  # a file up to this many bytes is read at once
VANISHED = Refusal("unstable_file", "it vanished while it was read")
Seen = tuple[int, int, int]  # size, mtime_ns and inode of a file; size, 0 and 0 of bytes that stand in a table
NOWHERE: Seen = (0, 0, 0)
Check = Callable[[bytes, str, int], Any]


def main(options: dict[str, Any]) -> None:
    """Answer requests until the pipe ends. A decoder that takes too long ends the process: SIGALRM's default act."""
    module, name = options["check"].split(":")
    check = getattr(import_module(module), name)
    requests, answers = sys.stdin.buffer, BufferedWriter(FileIO(1, "wb", closefd=False), PIPE_BYTES)
    _confine(options["max_memory_mb"])
    answers.write(READY)
    answers.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what decoders print about damaged files
    while line := requests.readline():
        head, contents = _answer_all(json.loads(line), requests, check, options)
        answers.write(json.dumps(head).encode() + b"\n")
        answers.writelines(contents)
        answers.flush()


def _answer_all(items: list[Any], requests: BinaryIO, check: Check, options: dict[str, Any]) -> tuple[Any, list[bytes]]:
    """The different verdicts and a row for every item, and the contents; in their place a text when we made a mistake.

    A row: image_id, length of the content that goes back, number of the verdict, and what identifies the file's state.

    The time of one image is given to several, which saves calls: where that is too little, each is asked for alone.
    """
    rows, contents, max_pixels = [], [], options["max_pixels"]
    verdicts: dict[tuple[Any, ...], int] = {}
    try:
        for number, item in enumerate(items):
            name, length, *_ = (item, None) if isinstance(item, str) else item
            content, seen = read_file(name, max_pixels) if length is None else (requests.read(length), (length, 0, 0))
            if number % TIMED_TOGETHER == 0:
                signal.setitimer(signal.ITIMER_REAL, options["max_seconds"])
            verdict, image_id, back = _answer(item, content, check, max_pixels)
            rows.append((image_id, len(back), verdicts.setdefault(verdict, len(verdicts)), *seen))
            contents.append(back)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Exception:
        return traceback.format_exc(), []
    return (list(verdicts), rows), contents


def _answer(
    item: Any, content: bytes | Refusal, check: Check, max_pixels: int
) -> tuple[tuple[Any, ...], str | None, bytes]:
    """The fields of Sound or of Refusal, the image_id, and the content where the parent does not have it yet.

    The item is a path that was read, and whose content the parent does not have yet, or a list: a name, the length of
    the content (null: a file that was read), and the reason of a refusal that a person overruled, where there is one.
    """
    if isinstance(content, Refusal):
        return (content.reason, content.detail), None, b""
    name, length, released = (item, None, None) if isinstance(item, str) else (*item, None)[:3]
    verdict = check(content, name, max_pixels)
    if isinstance(verdict, Refusal) and verdict.sound is not None and verdict.reason == released:
        verdict = verdict.sound
    image_id = hashlib.sha256(content).hexdigest()
    if isinstance(verdict, Refusal):
        return (verdict.reason, verdict.detail), image_id, b""
    return tuple(verdict), image_id, content if length is None else b""


def read_file(path: str, max_pixels: int) -> tuple[bytes | Refusal, Seen]:
    """A file's bytes, and size, mtime_ns and inode; of a large file that cannot be an image the first ones are read.

    A file that changes or vanishes meanwhile is read once more, then refused: it may be half an old and half a new one.
    """
    for number in range(2):
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            return VANISHED if number else Refusal("unreadable", str(error.strerror)), NOWHERE
        except OSError as error:
            return Refusal("unreadable", str(error.strerror)), NOWHERE
        try:
            before = os.fstat(file)
            content = _read(file, path, before.st_size, max_pixels)
            if isinstance(content, Refusal) or (
                len(content) == before.st_size and _state(before) == _state(os.fstat(file))
            ):
                return content, (before.st_size, before.st_mtime_ns, before.st_ino)
        except OSError as error:
            return Refusal("unreadable", str(error.strerror)), NOWHERE
        except MemoryError:
            return Refusal("decoder_memory", "is larger than ingest.max_memory_mb allows"), NOWHERE
        finally:
            os.close(file)
    return Refusal("unstable_file", "it changed while it was read, twice"), NOWHERE


def _read(file: int, path: str, size: int, max_pixels: int) -> bytes | Refusal:
    if size > SMALL:
        if isinstance(refusal := sniff(os.pread(file, HEAD, 0), path), Refusal):
            return refusal
        if size > 8 * max_pixels + 2**20:
            return Refusal("too_large", f"{size} bytes, more than ingest.max_pixels: {max_pixels} can need")
    content = os.read(file, size)
    while len(content) < size and (more := os.read(file, size - len(content))):
        content += more
    return content


def _state(file: os.stat_result) -> tuple[int, int, int]:
    """What differs after a file was written to, deleted, or replaced by another of its name (it has a link less)."""
    return file.st_size, file.st_mtime_ns, file.st_nlink


def _confine(max_memory_mb: int) -> None:
    """Limits of this process. It ends when its pipe does, so Ctrl-C is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit = max_memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.filterwarnings("error", module=r"PIL\.")  # a corrupt EXIF and the like refuse the image


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
