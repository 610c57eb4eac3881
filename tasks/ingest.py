"""Stage `ingest`: what the source holds, what was refused and why.

Records stream through: threads check them, one place takes them in, in order. A record carries its id, label and bytes
together, so a bad file costs its own row and never moves a label to another image. Every file ends up accepted or
quarantined, and the summary adds up.
"""

import hashlib
import os
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks import files
from tasks.errors import TooManyBad, UserError
from tasks.images.decode import Sound, check, sniff, warnings_are_errors, wrong_extension
from tasks.images.record import IGNORED, Record, Refusal
from tasks.images.shards import Shards
from tasks.images.sources import open_source
from tasks.progress import Progress
from tasks.stage import Stage

PARAMS = ("source", "ingest")
CHUNK = 16  # records a thread takes at once
TEXT, NUMBER = pa.string(), pa.int32()
ACCEPTED = pa.schema(
    [pa.field(name, TEXT) for name in ("image_id", "path", "origin", "format", "mode", "label")]
    + [pa.field(name, NUMBER) for name in ("width", "height")]
)
QUARANTINED = pa.schema([pa.field(name, TEXT) for name in ("path", "origin", "reason", "detail", "image_id")])


@dataclass(frozen=True, slots=True)
class Checked:
    """A record after its check; `content` is empty when it was refused, `image_id` None when it was never read."""

    record: Record
    image_id: str | None
    content: bytes
    verdict: Sound | Refusal


def ingest(stage: Stage) -> None:
    """The source in, data/images, data/catalog and data/quarantine out."""
    settings = stage.settings
    stage.watch(Path(settings.source.path))
    source = open_source(settings.source)
    images, catalog, quarantine = (stage.output(p) for p in (files.IMAGES, files.CATALOG, files.QUARANTINE))
    shards, intake = Shards(images), Intake()
    with Progress(source.total, "ingest", "files") as progress, warnings_are_errors():
        for checked in check_all(source.records, settings.ingest.max_pixels):
            if intake.add(checked) and checked.image_id is not None:
                shards.add(checked.image_id, checked.content)
            progress.advance(1)
    shards.close()
    accepted, refused = intake.tables()
    shards.drop(intake.orphans(accepted))
    summary = intake.summary(accepted, refused)
    _refuse_useless(intake, accepted, refused, settings.source.path, settings.ingest.max_bad_fraction)
    files.write_table(accepted.drop_columns("label"), catalog / "images.parquet")
    labels = accepted.filter(pc.is_valid(accepted["label"]))
    files.write_table(labels.select(["image_id", "path", "origin", "label"]), catalog / "labels.parquet")
    files.write_json(source.classes, catalog / "classes.json")
    files.write_table(refused, quarantine / "quarantine.parquet")
    stage.summary(classes=len(source.classes), **summary)
    _say(intake, summary, refused)


def check_all(records: Iterable[Record], max_pixels: int) -> Iterator[Checked]:
    """Check records in threads; they come out in the order they went in, and only a few are in memory at a time."""
    todo, threads = iter(records), os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        running: deque[Future[list[Checked]]] = deque()
        while True:
            while len(running) < 2 * threads and (chunk := list(islice(todo, CHUNK))):
                running.append(pool.submit(lambda some: [check_record(r, max_pixels) for r in some], chunk))
            if not running:
                return
            yield from running.popleft().result()


def check_record(record: Record, max_pixels: int) -> Checked:
    """Read a record's bytes if need be, hash and check them."""
    content = record.content
    if isinstance(content, Path):
        content = _read(content, record.path, max_pixels)
    if isinstance(content, Refusal):
        return Checked(record, None, b"", content)
    verdict = check(content, record.path, max_pixels)
    image_id = hashlib.sha256(content).hexdigest()
    return Checked(record, image_id, b"" if isinstance(verdict, Refusal) else content, verdict)


def _read(path: Path, name: str, max_pixels: int) -> bytes | Refusal:
    """A file's bytes; of a file that cannot be an image only the first ones are read."""
    try:
        with path.open("rb") as stream:
            head = stream.read(16)
            if isinstance(refusal := sniff(head, name), Refusal):
                return refusal
            if (size := os.fstat(stream.fileno()).st_size) > 8 * max_pixels + 2**20:
                return Refusal("too_large", f"{size} bytes, more than ingest.max_pixels: {max_pixels} can need")
            return head + stream.read()
    except OSError as error:
        return Refusal("unreadable", error.strerror or type(error).__name__)


class Rows:
    """A growing table. Full thousands are kept as Arrow, a fraction of what Python objects take."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema, self._batches, self._rows = schema, list[pa.RecordBatch](), list[tuple[Any, ...]]()

    def add(self, *row: Any) -> None:
        """One row, its values in the schema's order."""
        self._rows.append(row)
        if len(self._rows) == 10_000:
            self._flush()

    def table(self) -> pa.Table:
        """All rows."""
        self._flush()
        return pa.Table.from_batches(self._batches, self._schema).combine_chunks()

    def _flush(self) -> None:
        columns = list(zip(*self._rows, strict=True)) or [() for _ in self._schema]
        arrays = [pa.array(values, field.type) for values, field in zip(columns, self._schema, strict=True)]
        self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._rows.clear()


class Intake:
    """Takes checked records in, one by one, and keeps the count of everything."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self.total_of, self.bad_of = Counter[str](), defaultdict[str, Counter[str]](Counter)
        self._accepted, self._refused = Rows(ACCEPTED), Rows(QUARANTINED)
        self._label_of: dict[str, str] = {}
        self._conflicts: dict[str, set[str]] = {}
        self._ignored = self._wrong_extension = self._many_frames = 0

    def add(self, checked: Checked) -> bool:
        """Accept or refuse one record; True when it brings an image that was not seen before."""
        record, verdict, image_id = checked.record, checked.verdict, checked.image_id
        if isinstance(verdict, Refusal) and verdict.reason == IGNORED:
            self._ignored += 1
            return False
        self.total_of[record.place] += 1
        if isinstance(verdict, Refusal) or image_id is None:
            self._refuse(record, verdict, image_id)
            return False
        seen = verdict.format, verdict.mode, record.label, verdict.width, verdict.height
        self._accepted.add(image_id, record.path, record.origin, *seen)
        self._wrong_extension += wrong_extension(record.path, verdict.format)
        self._many_frames += verdict.frames > 1
        self._note_label(image_id, record.label)
        is_new = image_id not in self._seen
        self._seen.add(image_id)
        return is_new

    def _refuse(self, record: Record, verdict: Sound | Refusal, image_id: str | None) -> None:
        assert isinstance(verdict, Refusal), f"{record.path} passed its check without being read"
        self._refused.add(record.path, record.origin or "", verdict.reason, verdict.detail, image_id)
        self.bad_of[record.place][verdict.reason] += 1

    def _note_label(self, image_id: str, label: str | None) -> None:
        if label is not None and (first := self._label_of.setdefault(image_id, label)) != label:
            self._conflicts.setdefault(image_id, {first}).add(label)

    def tables(self) -> tuple[pa.Table, pa.Table]:
        """Accepted and quarantined records, sorted. Rows that label the same bytes differently are quarantined, all."""
        accepted, refused = self._accepted.table(), self._refused.table()
        in_conflict = pc.and_(
            pc.is_in(accepted["image_id"], pa.array(sorted(self._conflicts), pa.string())),
            pc.is_valid(accepted["label"]),
        )
        detail_of = {
            i: f"the same image is labeled {' and '.join(map(repr, sorted(n)))}" for i, n in self._conflicts.items()
        }
        rows = [
            {"path": r["path"], "origin": r["origin"], "reason": "label_conflict", "detail": detail_of[r["image_id"]]}
            | {"image_id": r["image_id"]}
            for r in accepted.filter(in_conflict).to_pylist()
        ]
        refused = pa.concat_tables([refused, pa.Table.from_pylist(rows, QUARANTINED)])
        return _sorted(accepted.filter(pc.invert(in_conflict))), _sorted(refused)

    def orphans(self, accepted: pa.Table) -> set[str]:
        """Images that no accepted record refers to any more, because of a conflict."""
        conflicts = pa.array(sorted(self._conflicts), pa.string())
        return set(self._conflicts) - set(conflicts.filter(pc.is_in(conflicts, accepted["image_id"])).to_pylist())

    def summary(self, accepted: pa.Table, refused: pa.Table) -> dict[str, Any]:
        """The counts; what came in is what was accepted plus what was quarantined (C7)."""
        files_in = self.total_of.total()
        if files_in != accepted.num_rows + refused.num_rows:
            raise AssertionError(f"{files_in} files in, {accepted.num_rows} accepted, {refused.num_rows} quarantined")
        images = pc.count_distinct(accepted["image_id"]).as_py()
        return {
            "files_in": files_in,
            "accepted": accepted.num_rows,
            "quarantined": refused.num_rows,
            "images": images,
            "duplicates": accepted.num_rows - images,
            "origin": _counts(accepted["origin"]),
            "reasons": _counts(refused["reason"]),
            "ignored": self._ignored,
            "wrong_extension": self._wrong_extension,
            "many_frames": self._many_frames,
        }


def _sorted(table: pa.Table) -> pa.Table:
    return table.sort_by([("image_id", "ascending"), ("path", "ascending")]).combine_chunks()


def _counts(column: Any) -> dict[str, int]:
    return dict(sorted(Counter(column.to_pylist()).items()))


def _refuse_useless(intake: Intake, accepted: pa.Table, refused: pa.Table, path: str, max_bad: float) -> None:
    """Stop where going on makes no sense: nothing there, too much of it bad, or no labeled image left."""
    total = intake.total_of.total()
    if total == 0:
        raise UserError("empty_source", f"source.path: {path} holds no files", "put images there or edit source.path")
    if refused.num_rows > max_bad * total:
        bad = refused.num_rows
        share = f"{bad} of {total} files cannot be used ({bad / total:.1%}, allowed {max_bad:.1%})"
        raise TooManyBad(
            "too_many_bad",
            "\n".join([share, *_bad_lines(intake, refused), "  for example:", *_examples(refused)]),
            f"mend or remove these files, or raise ingest.max_bad_fraction in params.yaml (now {max_bad})",
        )
    if "labeled" not in _counts(accepted["origin"]):
        what = f"source.path: {path} brings no usable labeled image ({accepted.num_rows} accepted, all unlabeled)"
        raise UserError("no_labels", what, "label a few images of each class; see `Sources` in the README")


def _bad_lines(intake: Intake, refused: pa.Table) -> list[str]:
    """Counts by reason, then the worst folders, one line each."""
    lines = [f"  {reason}: {count}" for reason, count in _counts(refused["reason"]).items()]
    worst = sorted(intake.bad_of.items(), key=lambda item: (-item[1].total(), item[0]))
    for place, reasons in worst[:10]:
        bad, total = reasons.total(), intake.total_of[place]
        share = f"all {total} files" if bad == total > 1 else f"{bad} of {total}"
        lines.append(f"  in {place or '.'}: {share} ({', '.join(f'{r} {n}' for r, n in reasons.most_common())})")
    return [*lines, *([f"  and {len(worst) - 10} more folders"] if len(worst) > 10 else [])]


def _examples(refused: pa.Table) -> list[str]:
    rows = refused.slice(0, 5).to_pylist()
    return [f"    {row['path']!r}: {row['reason']}, {row['detail']}" for row in rows]


def _say(intake: Intake, summary: dict[str, Any], refused: pa.Table) -> None:
    print(f"ingest: {summary['files_in']} files, {summary['accepted']} accepted ({summary['images']} different images)")
    if refused.num_rows:
        print(f"ingest: {refused.num_rows} quarantined, see {files.QUARANTINE}/quarantine.parquet")
        print("\n".join(_bad_lines(intake, refused)))
