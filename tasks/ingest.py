"""Stage `ingest`: what the source holds, what was refused and why."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks import files, resolutions
from tasks.errors import TooManyBad, UserError
from tasks.images import quarantine, release
from tasks.images.decode import warnings_are_errors
from tasks.images.intake import Intake, check_all, counts, texts
from tasks.images.shards import Shards
from tasks.images.sources import open_source, prepare
from tasks.progress import Progress
from tasks.stage import Stage

PARAMS = ("sources.{key}", "ingest")


def ingest(stage: Stage, name: str) -> None:
    """The source `name` in, its part of data/images, data/catalog and data/quarantine out."""
    settings = stage.settings
    wanted = settings.sources[name]
    prepare(wanted)
    stage.watch(Path(wanted.path))
    source = open_source(name, wanted)
    releases, resolved = _decided(stage, name, source.classes)
    images, catalog, refused_at = (stage.output(f(name)) for f in (files.images, files.catalog, files.quarantine))
    shards, intake = Shards(images), Intake(resolved)
    with Progress(source.total, stage.name, "files") as progress, warnings_are_errors():
        for checked in check_all(release.apply(source.records, releases), settings.ingest.max_pixels):
            if intake.add(checked) and checked.image_id is not None:
                shards.add(checked.image_id, checked.content)
            progress.advance(1)
    shards.close()
    accepted, refused = intake.tables()
    shards.drop(intake.orphans(accepted))
    summary = intake.summary(accepted, refused)
    _refuse_useless(intake, refused, wanted.path, settings.ingest.max_bad_fraction)
    files.write_table(accepted.drop_columns(["label", "place"]), catalog / "images.parquet")
    labels = accepted.filter(pc.is_valid(accepted["label"]))
    files.write_table(labels.select(["image_id", "path", "origin", "label"]), catalog / "labels.parquet")
    files.write_json(source.classes, catalog / "classes.json")
    run = quarantine.write(refused_at, accepted, refused, intake.total_of, before_at=files.quarantine(name))
    stage.summary(classes=len(source.classes), run=run, **summary)
    _say(stage.name, intake, summary, refused, name)


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
