"""Stage `ingest`: what the source holds, what was refused and why."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks import files
from tasks.errors import TooManyBad, UserError
from tasks.images.intake import Intake, counts, texts
from tasks.images.shards import Shards
from tasks.images.sources import open_source
from tasks.images.supervise import check_all
from tasks.progress import Progress
from tasks.stage import Stage

PARAMS = ("sources.{key}", "ingest")


def ingest(stage: Stage, name: str) -> None:
    """The source `name` in, its part of data/images, data/catalog and data/quarantine out."""
    settings = stage.settings
    wanted = settings.sources[name]
    stage.watch(Path(wanted.path))
    source = open_source(name, wanted)
    images, catalog, quarantine = (stage.output(f(name)) for f in (files.images, files.catalog, files.quarantine))
    shards, intake = Shards(images), Intake()
    with Progress(source.total, stage.name, "files") as progress:
        for checked in check_all(source.records, settings.ingest):
            if intake.add(checked) and checked.image_id is not None:
                shards.add(checked.image_id, checked.content)
            progress.advance(1)
    shards.close()
    accepted, refused = intake.tables()
    shards.drop(intake.orphans(accepted))
    summary = intake.summary(accepted, refused)
    _refuse_useless(intake, accepted, refused, wanted.path, settings.ingest.max_bad_fraction)
    files.write_table(accepted.drop_columns(["label", "place"]), catalog / "images.parquet")
    labels = accepted.filter(pc.is_valid(accepted["label"]))
    files.write_table(labels.select(["image_id", "path", "origin", "label"]), catalog / "labels.parquet")
    files.write_json(source.classes, catalog / "classes.json")
    files.write_table(refused.drop_columns("place"), quarantine / "quarantine.parquet")
    stage.summary(classes=len(source.classes), **summary)
    _say(stage.name, intake, summary, refused, quarantine_at=files.quarantine(name))


def _refuse_useless(intake: Intake, accepted: pa.Table, refused: pa.Table, path: str, max_bad: float) -> None:
    """Stop where going on makes no sense: nothing there, too much of it bad, or no labeled image left."""
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
    if "labeled" not in counts(accepted["origin"]):
        what = f"source {path} brings no usable labeled image ({accepted.num_rows} accepted, all unlabeled)"
        raise UserError("no_labels", what, "label a few images of each class; see `Sources` in the README")


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


def _say(stage: str, intake: Intake, summary: dict[str, Any], refused: pa.Table, quarantine_at: Path) -> None:
    print(
        f"{stage}: {summary['files_in']} files, {summary['accepted']} accepted ({summary['images']} different images)"
    )
    if refused.num_rows:
        print(f"{stage}: {refused.num_rows} quarantined, see {quarantine_at}/quarantine.parquet")
        print("\n".join(_bad_lines(intake, refused)))
