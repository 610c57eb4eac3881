"""Stage `ingest`: what the source holds, what was refused and why.

A source that grew costs what is new in it: unchanged files are not read again, and images go into new shards beside the
old ones, which stay as they are. An image that was deleted or edited leaves the catalog, not its shard.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks import files, resolutions
from tasks.errors import TooManyBad, UserError
from tasks.images import quarantine, release
from tasks.images.index import FileIndex
from tasks.images.intake import Intake, counts, texts
from tasks.images.interrupted import Interrupted
from tasks.images.record import Record, Refusal
from tasks.images.shards import Shards
from tasks.images.sources import open_source, prepare
from tasks.images.supervise import Worker, check_all, crew
from tasks.leftovers import bring_back
from tasks.params import value_at
from tasks.progress import Progress
from tasks.stage import Stage, code_in_use

PARAMS = ("sources.{key}", "ingest")
INDEX = "index.parquet"


def ingest(stage: Stage, name: str) -> None:
    """The source `name` in, its part of data/images, data/catalog and data/quarantine out."""
    settings = stage.settings
    wanted = settings.sources[name]
    prepare(wanted)
    with crew(settings.ingest) as workers:
        for worker in () if (stage.home / INDEX).exists() else workers:
            worker.start()  # all is read: they start while this process looks at the source
        stage.watch(Path(wanted.path), settings.scan.settle_seconds)
        _ingest(stage, name, workers)


def _ingest(stage: Stage, name: str, workers: list[Worker]) -> None:
    settings, wanted = stage.settings, stage.settings.sources[name]
    source = open_source(name, wanted)
    if bring_back(name):
        print(f"{stage.name}: the settings name this source again; it goes on from what was moved aside")
    releases, resolved = _decided(stage, name, source.classes)
    catalog, refused_at = stage.output(files.catalog(name)), stage.output(files.quarantine(name))
    images = stage.output(files.images(name), origin=False)
    first, stored = _carry_on(stage, name, images)
    before = len(stored)
    interrupted = _interrupted(stage, name, first)
    for part in interrupted.parts:
        stored |= _ids(interrupted.folder / part)
    key = files.digest([wanted.model_dump(), settings.ingest.model_dump(), code_in_use("tasks.images.")])
    index = FileIndex(stage.home / INDEX, key, settings.scan.rehash, interrupted.index)
    shards = Shards(interrupted.folder, first, interrupted.parts, lambda parts: interrupted.note(parts, index))
    intake = Intake(stored, resolved)
    records = Progress(source.total, stage.name, "files"), release.apply(source.records, releases)
    read = _take_in(workers, *records, intake, shards, stored, index)
    accepted, refused = intake.tables()
    orphans = intake.orphans(accepted)
    shards.drop(orphans)
    summary = intake.summary(accepted, refused)
    _refuse_useless(intake, refused, wanted.path, settings.ingest.max_bad_fraction)
    growth = _growth(files.catalog(name) if before else None, accepted)
    files.write_table(accepted.drop_columns(["label", "place"]), catalog / "images.parquet")
    labels = accepted.filter(pc.is_valid(accepted["label"]))
    files.write_table(labels.select(["image_id", "path", "origin", "label"]), catalog / "labels.parquet")
    files.write_json(source.classes, catalog / "classes.json")
    run = quarantine.write(refused_at, accepted, refused, intake.total_of, before_at=files.quarantine(name))
    index.write()
    shards.move(images)
    stage.sealed(images, shards.written)
    added = sum(files.rows(images / part) for part in shards.written)
    stage.summary(classes=len(source.classes), run=run, stored=before + added, **summary)
    stage.counts(read=read, new_images=added, shards_added=len(shards.written), **growth)
    _say(stage.name, intake, summary, refused, name)
    grown = ", ".join(f"{count} files {what}" for what, count in growth.items())
    print(f"{stage.name}: {added} new images in {len(shards.written)} new shards; {grown}; {read} read")


def _carry_on(stage: Stage, name: str, images: Path) -> tuple[int, set[bytes]]:
    """Take over the shards that an earlier run wrote of the same source: the number of the next, what is in them."""
    old, key = files.images(name), f"sources.{name}"
    records = [folder / files.MANIFEST for folder in (files.catalog(name), old)]
    if not all(path.is_file() for path in records):
        return 0, set()
    made, record = map(files.read_json, records)
    if made["params"].get(key) != value_at(stage.settings, key):
        return 0, set()  # another source under the same name
    parts = sorted(part for part in record["files"] if part.startswith("part-"))
    stage.keep(images, parts)
    stored = set[bytes]()
    for part in parts:
        stored |= _ids(images / part)
    return int(parts[-1][5:10]) + 1 if parts else 0, stored


def _interrupted(stage: Stage, name: str, first: int) -> Interrupted:
    """What a killed run of the same source, settings and code has written behind the shards of now."""
    interrupted = Interrupted(stage.resume(), files.manifest_hash(files.images(name)) if first else "")
    if interrupted.parts:
        print(f"{stage.name}: going on behind {len(interrupted.parts)} shards written before the interruption")
    return interrupted


def _ids(part: Path) -> set[bytes]:
    return set(map(bytes.fromhex, texts(files.read_table(part, ["image_id"])["image_id"])))


def _take_in(
    workers: list[Worker],
    progress: Progress,
    records: Iterable[Record],
    intake: Intake,
    shards: Shards,
    stored: set[bytes],
    index: FileIndex,
) -> int:
    """Take every record in and say how many had to be read; images that are not stored yet go into new shards."""
    read, lock = 0, Lock()
    with progress:

        def to_read() -> Iterator[Record]:
            """The rest is known. Whoever checks may ask for records from a thread of its own."""
            for record in records:
                with lock:
                    # What a person released is looked at each time: they may withdraw it.
                    if known := None if record.released else index.find(record, stored):
                        intake.add(known)
                        progress.advance(1)
                if not known:
                    yield record

        for checked in check_all(workers, to_read()):
            with lock:
                index.note(checked)
                read += not isinstance(checked.record.content, Refusal)
                if intake.add(checked) and checked.image_id is not None:
                    shards.add(checked.image_id, checked.content)
                progress.advance(1)
    shards.close()
    return read


def _growth(catalog: Path | None, accepted: pa.Table) -> dict[str, int]:
    """Accepted files against the catalog of the run before: new, changed, unchanged and deleted."""
    path = catalog / "images.parquet" if catalog else None
    if path is None or not path.is_file():
        return {"new": accepted.num_rows, "changed": 0, "unchanged": 0, "deleted": 0}
    old = files.read_table(path, ["path", "image_id"]).combine_chunks()
    row = pc.index_in(accepted["path"], value_set=old["path"])
    there = accepted.num_rows - row.null_count
    unchanged = _true(pc.equal(old["image_id"].take(row), accepted["image_id"]))
    deleted = old.num_rows - _true(pc.is_in(old["path"], value_set=accepted["path"]))
    return {"new": row.null_count, "changed": there - unchanged, "unchanged": unchanged, "deleted": deleted}


def _true(column: Any) -> int:
    return int(pc.sum(column).as_py() or 0)


def _decided(stage: Stage, name: str, classes: list[str]) -> tuple[dict[str, release.Release], dict[str, str]]:
    """What people said: refused files of this source to take in, and the classes of images that carry two."""
    for path in (files.RELEASES, files.CONFLICTS):
        if path.exists():
            stage.input(path)
    known = {i: label for i, label in resolutions.read(files.CONFLICTS).items() if label in classes}
    return release.read(files.RELEASES, name, classes), known


def _refuse_useless(intake: Intake, refused: pa.Table, path: str, max_bad: float) -> None:
    """Stop where going on makes no sense: nothing there, or too much of it bad. Labels may come from another source."""
    total = intake.total_of.total()
    if total == 0:
        raise UserError("empty_source", f"source {path} holds no files", "put images there or edit its path")
    if refused.num_rows > max_bad * total:
        bad = refused.num_rows
        share = f"{bad} of {total} files cannot be used ({bad / total:.1%}, allowed {max_bad:.1%})"
        raise TooManyBad(
            "too_many_bad",
            "\n".join([share, *_bad_lines(intake, refused), "  for example:", *_examples(refused)]),
            f"mend or remove these files, or raise ingest.max_bad_fraction in params.yaml (now {max_bad})",
        )


def _bad_lines(intake: Intake, refused: pa.Table) -> list[str]:
    """Counts by reason, then the worst folders, one line each."""
    lines = [f"  {reason}: {count}" for reason, count in counts(refused["reason"]).items()]
    bad_of = defaultdict[str, Counter[str]](Counter)
    for place, reason in zip(texts(refused["place"]), texts(refused["reason"]), strict=True):
        bad_of[place][reason] += 1
    worst = sorted(bad_of.items(), key=lambda item: (-item[1].total(), item[0]))
    for place, reasons in worst[:10]:
        bad, total = reasons.total(), intake.total_of[place]
        share = f"all {total} files" if bad == total > 1 else f"{bad} of {total}"
        lines.append(f"  in {place!r}: {share} ({', '.join(f'{r} {n}' for r, n in reasons.most_common())})")
    return [*lines, *([f"  and in {len(worst) - 10} more folders"] if len(worst) > 10 else [])]


def _examples(refused: pa.Table) -> list[str]:
    """The first row of each reason, five at most."""
    first = {row["reason"]: row for row in reversed(refused.to_pylist())}
    rows = sorted(first.values(), key=lambda row: str(row["reason"]))
    return [f"    {row['path']!r}: {row['reason']}, {row['detail']}" for row in rows[:5]]


def _say(stage: str, intake: Intake, summary: dict[str, Any], refused: pa.Table, name: str) -> None:
    print(
        f"{stage}: {summary['files_in']} files, {summary['accepted']} accepted ({summary['images']} different images)"
    )
    if refused.num_rows:
        print(f"{stage}: {refused.num_rows} quarantined, see `understudy quarantine --source {name}`")
        print("\n".join(_bad_lines(intake, refused)))
