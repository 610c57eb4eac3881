"""`understudy audit`: show a blind sample of a round's accepted labels, and bring the answers into the ledger.

The reviewer sees pictures 001, 002... in an order of their own and nothing else. Which image a picture is, what the
label table says of it and which ones are planted stands in the key, .work/audit/keys/CODE.json, until the sync.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.progress import track

from tasks import audit_sample, audits, files, ledger
from tasks.audits import Said
from tasks.decisions import nearest
from tasks.errors import UserError
from tasks.params import Settings
from tasks.review import answers, app, blind, database, pictures, rows, session
from tasks.review.corrections import Refused

HOME = files.WORK / "audit"
COLUMNS = ["image_id", "label", "confidence", "copies", "source"]


@dataclass(frozen=True, slots=True)
class Key:
    """What the reviewer must not see: what lies behind the pictures of one person's audit."""

    round: str
    table: str
    n: int
    who: str
    items: dict[str, Sequence[str]]  # name of the picture: image_id, label, truth (planted) or ""

    @property
    def code(self) -> str:
        """A name that betrays nothing, for the data set and its folder."""
        return files.digest([self.round, self.table, self.n, self.who, self.items, str(Path.cwd())])[:8]

    @property
    def data_set(self) -> str:
        """The name of its data set in FiftyOne."""
        return f"understudy-audit-{self.code}"

    @property
    def path(self) -> Path:
        """Where it is kept until the answers are synced, and after."""
        return HOME / "keys" / f"{self.code}.json"

    def save(self) -> None:
        """Write it down."""
        content = {"round": self.round, "table": self.table, "n": self.n, "who": self.who, "items": self.items}
        files.replace_json(self.path, content)


@dataclass(frozen=True, slots=True)
class Shown:
    """An audit ready to be looked at; `str()` says it in words."""

    name: str
    images: int
    planted: int
    reused: bool
    older: int  # audits of this person and round that belong to an older label table

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.images} pictures, {self.planted} of them planted; name the class of each"]
        lines[0] += ". The same sample as before" * self.reused
        lines.append("choose it in Annotate, or tag pictures class:NAME, `unsure` or `none` (of the classes)")
        if self.older:
            lines.append(
                "the label table has changed since an earlier audit: this is a new sample, drawn from the new one"
            )
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Synced:
    """What a sync brought back; `str()` says it in words."""

    new: int
    named: int
    of: int
    older: tuple[str, ...]  # data sets whose label table is not the one of today
    refused: tuple[Refused, ...]

    def __str__(self) -> str:
        lines = [f"{files.AUDIT}: {self.new or 'no'} new answers; {self.named} of {self.of} pictures are named"]
        lines += [f"{name} shows an older label table: kept in the ledger, not in the card" for name in self.older]
        if self.refused:
            lines += ["not understood, and left in FiftyOne:", *(f"  {r.image_id}  {r.why}" for r in self.refused)]
        if self.new:
            lines.append(f"next: `git add {files.AUDIT}` keeps them; `dvc repro report` shows them")
        return "\n".join(lines)


def build(round_: str, n: int, who: str, settings: Settings) -> Shown:
    """Draw the sample of a round's label table as it is now and show it to `who`; the same one if it is there already.

    Two people get the same images, each in a data set and an order of their own.
    """
    who = ledger.person(who)
    with session.alone():
        key = _drawn(round_, n, who, settings)
        older = sum(1 for other in _keys(round_, who) if other.table != key.table)
        planted = sum(1 for _, _, truth in key.items.values() if truth)
        fo = database.connect()
        data = blind.find(fo, key.data_set)
        key.save()
        if data is not None and all(Path(path).exists() for path in data.values("filepath")):
            return Shown(key.data_set, len(key.items), planted, reused=True, older=older)
        if data is not None:
            _refuse_to_lose(data, key)
        for source in settings.sources:
            rows.published(files.images(source), f"ingest@{source}")
        name_of = {image_id: name for name, (image_id, _, _) in key.items.items()}
        written = pictures.write_blind(name_of, HOME / key.code)
        shown = sorted(track(written, description="audit", total=len(name_of), transient=True))
        blind.create(fo, key.data_set, shown, files.read_json(files.SPLIT / "classes.json"))
        return Shown(key.data_set, len(key.items), planted, reused=False, older=older)


def sync(round_: str, who: str) -> Synced:
    """Bring one person's answers of a round into the ledger; doing it twice changes nothing."""
    who = ledger.person(who)
    with session.alone():
        rows.published(files.SPLIT, "split")
        classes: list[str] = files.read_json(files.SPLIT / "classes.json")
        fo = database.connect()
        found = [(key, data) for key in _keys(round_, who) if (data := blind.find(fo, key.data_set)) is not None]
        if not found:
            what = f"there is no audit of {round_} by {who} in {database.HOME}"
            raise UserError("no_audit", what, f"`understudy audit --round {round_}` draws it; --who names the reviewer")
        now = audit_sample.table_hash(round_) if (files.labels(round_) / files.MANIFEST).exists() else ""
        said, refused = list[Said](), list[Refused]()
        for key, data in found:
            made, odd = _answers(key, data, classes)
            said += made
            refused += odd
        new = audits.append({row.of: row for row in said}.values())
        older = tuple(key.data_set for key, _ in found if key.table != now)
        return Synced(new, len(said), sum(len(key.items) for key, _ in found), older, tuple(refused))


def open_app(name: str, port: int) -> None:
    """Serve the App on the pictures that have no answer yet, until Ctrl-C."""
    app.serve(name, port, blind.VIEW)


def _answers(key: Key, data: Any, classes: Sequence[str]) -> tuple[list[Said], list[Refused]]:
    """What stands in a data set, by image, and what cannot be used."""
    by_name, refused = answers.interpret(blind.read(data), classes)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    said = []
    for name, (action, answer) in by_name.items():
        if name not in key.items:
            refused.append(Refused(name, "is no picture of this audit"))
            continue
        image_id, label, truth = key.items[name]
        said.append(Said(key.round, key.table, key.n, image_id, label, truth, action, answer, key.who, when))
    return sorted(said, key=lambda row: row.image_id), refused


def _drawn(round_: str, n: int, who: str, settings: Settings) -> Key:
    """The key of an audit: drawn labels and planted images, shuffled. The same as long as labels and seed stay."""
    if round_ not in settings.rounds:
        near = nearest(round_, settings.rounds)
        what = f"{round_!r} is no round of params.yaml{near}"
        raise UserError("unknown_round", what, f"use one of {', '.join(settings.rounds)}")
    rows.published(files.labels(round_), f"curate@{round_}")
    rows.published(files.SPLIT, "split")
    labels = audit_sample.accepted(files.read_table(files.labels(round_) / "labels.parquet", COLUMNS))
    if not labels.num_rows:
        what = f"no label of {files.labels(round_)} is accepted but those that people gave"
        raise UserError("nothing_to_audit", what, f"lower rounds.{round_}.curate.threshold, or label more images")
    table, n = audit_sample.table_hash(round_), min(n, labels.num_rows)
    seed = (settings.seed, round_, table, n)
    sample = audit_sample.draw(labels, n, seed)
    behind = {i: (i, label, "") for i, label in zip(sample.image_id_M, sample.label_M, strict=True)}
    classes: list[str] = files.read_json(files.SPLIT / "classes.json")
    planted = audit_sample.plant(_known(), classes, math.ceil(settings.audit.planted * n), seed)
    items = sorted({**behind, **{image_id: (image_id, label, truth) for image_id, label, truth in planted}}.values())
    order = audit_sample.generator("order", *seed, who).permutation(len(items))
    digits = len(str(len(items)))
    return Key(round_, table, n, who, {f"{at + 1:0{digits}}": items[i] for at, i in enumerate(order)})


def _known() -> pa.Table:
    """image_id, label of the images whose class people gave from the start and that no test rests on."""
    tables = [files.read_table(files.SPLIT / f"{name}.parquet", ["image_id", "label"]) for name in ("labeled", "calib")]
    return pa.concat_tables(tables).sort_by("image_id")


def _keys(round_: str, who: str) -> list[Key]:
    """Every audit of this round shown to this person in this project."""
    found = [Key(**files.read_json(path)) for path in sorted((HOME / "keys").glob("*.json"))]
    return [key for key in found if (key.round, key.who) == (round_, who)]


def _refuse_to_lose(data: Any, key: Key) -> None:
    """The pictures are gone: the data set has to be made anew, but not before its answers are in the ledger."""
    classes: list[str] = files.read_json(files.SPLIT / "classes.json")
    known = {row.of: (row.action, row.answer) for row in audits.read()}
    if any(known.get(row.of) != (row.action, row.answer) for row in _answers(key, data, classes)[0]):
        what = f"the pictures of {key.data_set} are gone, and it holds answers that are in no ledger yet"
        raise UserError("unsynced", what, f"`understudy audit --round {key.round} --sync`, then audit again")
