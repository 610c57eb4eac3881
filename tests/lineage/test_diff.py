"""`understudy diff`: every image's change has the right kind, the counts add up, and the causes are named."""

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.lineage import causes, diff_text
from flows.lineage.diff import between
from flows.versions.history import Lock
from tasks import files
from tasks.errors import UserError
from tasks.lineage.changes import KINDS, compare
from tests.flows.conftest import UNDERSTUDY
from tests.lineage.conftest import POOL, Versions

HERE = Path()
Row = tuple[str | None, float | None, int, str, str]  # label, confidence, copies, source, reason
TEACHER = ("teacher:r0", "teacher:r1")
ROWS = st.one_of(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from([0.25, 0.5, 0.75]),
        st.sampled_from([0, 1, 2]),
        st.sampled_from(TEACHER),
        st.sampled_from(["kept", "low_confidence", "class_full"]),
    ),
    st.tuples(st.sampled_from("ab"), st.just(1.0), st.just(1), st.just("human"), st.just("human_label")),
    st.tuples(st.none(), st.just(0.5), st.just(0), st.just("human"), st.just("human_rejected")),
    st.tuples(st.none(), st.none(), st.just(0), st.just(""), st.sampled_from(["near_held_out", "duplicate"])),
)
TABLES = st.dictionaries(st.sampled_from("stuvwxyz"), ROWS, max_size=8)


def _kind(old: Row | None, new: Row | None) -> str | None:
    """The rules one image at a time."""
    if old is None or new is None:
        return "added" if old is None else "removed"
    if old[:1] + old[3:] != new[:1] + new[3:] and "human" in (old[3], new[3]):
        return "human"
    if "" in (old[3], new[3]) and old[3:] != new[3:]:
        return "role"
    if old[0] != new[0]:
        return "label"
    if bool(old[2]) != bool(new[2]):
        return "accepted" if new[2] else "dropped"
    return next((n for n, at in (("copies", 2), ("reason", 4), ("confidence", 1)) if old[at] != new[at]), None)


def _write(path: Path, rows: dict[str, Row]) -> Path:
    named = [
        dict(zip(("label", "confidence", "copies", "source", "reason"), rows[i], strict=True)) for i in sorted(rows)
    ]
    table = [{"image_id": i, **row} for i, row in zip(sorted(rows), named, strict=True)]
    files.write_table(pa.Table.from_pylist(table, files.LABEL_TABLE), path)
    return path


@settings(deadline=None)
@given(old=TABLES, new=TABLES)
def test_each_change_has_its_kind_and_all_are_counted(
    tmp_path_factory: pytest.TempPathFactory, old: dict[str, Row], new: dict[str, Row]
) -> None:
    """For any two tables: the kinds of a slow reference, each image once, the rest is the same."""
    folder = tmp_path_factory.getbasetemp()
    changes = compare(_write(folder / "old.parquet", old), _write(folder / "new.parquet", new))
    expected = {i: kind for i in sorted(old.keys() | new.keys()) if (kind := _kind(old.get(i), new.get(i)))}
    assert dict(zip(*(changes.rows[name].to_pylist() for name in ("image_id", "kind")), strict=True)) == expected
    assert changes.counts == {kind: list(expected.values()).count(kind) for kind in KINDS}
    assert sum(changes.counts.values()) + changes.same == len(old.keys() | new.keys())
    for kind in KINDS:
        assert sum(count for *_, count in changes.pairs(kind)) == changes.counts[kind]
    for row in changes.rows.to_pylist():
        for side, table in (("before", old), ("after", new)):
            expect = table.get(row["image_id"], (None,) * 5)
            assert tuple(row[f"{n}_{side}"] for n in ("label", "confidence", "copies", "source", "reason")) == expect


def test_two_commits_differ_by_what_was_done_between_them(versions: Versions) -> None:
    """One decision, one new, one deleted and one edited file, and a lower threshold: all found, with their causes."""
    diff = between(HERE, versions.first, versions.second)
    found = {row["image_id"]: row["kind"] for row in diff.changes.rows.to_pylist()}
    assert found[versions.before[POOL[0]]] == "human"
    fresh = {versions.now[path] for path in ("pool/fresh.png", "pool/edited.png")}
    gone = {versions.before[path] for path in ("pool/leaves.png", "pool/edited.png")}
    assert {i for i, kind in found.items() if kind == "added"} == fresh
    assert {i for i, kind in found.items() if kind == "removed"} == gone
    accepted = [row for row in diff.changes.rows.to_pylist() if row["kind"] == "accepted"]
    assert accepted
    assert all(row["reason_before"] in {"low_confidence", "class_full"} for row in accepted)
    assert diff.cause is not None
    said = "\n".join(diff_text.reason_lines(diff))
    assert "teacher: the same net" in said
    assert "rounds.r1.curate.threshold: 0.6 → 0.55" in said
    assert "rounds.r1.curate.per_class: 8 → None" in said
    assert re.search(r"data/decisions/r1\.csv \w{8} → \w{8}$", said, re.MULTILINE)
    assert re.search(r"^ +source \w{8} → \w{8}$", said, re.MULTILINE), "the files of the source, four stages before"
    assert "split.calib" not in said
    assert between(HERE, versions.second, "workspace").cause is None


def test_code_and_nets_are_causes_too() -> None:
    """A setting, a file of code and an input far up are named where they are; what is equal is not."""

    def lock(net: str, code: str, steps: int) -> Lock:
        stages: dict[str, dict[str, Any]] = {
            "teacher": {"deps": [], "params": {"params.yaml": {"teacher": {"steps": steps, "width": 1}}}},
            "label": {
                "deps": [{"path": "data/models/r0", "md5": net}, {"path": "tasks/label.py", "md5": code}],
                "params": {},
            },
        }
        made = {"data/models/r0": "teacher", "data/probs/r1": "label"}
        return Lock(stages, {"data/models/r0": net, "data/probs/r1": net + code}, made)

    cause = causes.of(lock("n1", "c1", 10), lock("n2", "c2", 20), "data/probs/r1")
    assert cause is not None
    assert list(causes.lines(cause)) == [
        "data/probs/r1 n1c1 → n2c2, by label",
        "  code: tasks/label.py",
        "  data/models/r0 n1 → n2, by teacher",
        "    teacher.steps: 10 → 20",
    ]


def test_the_page_needs_nothing_but_itself(versions: Versions, tmp_path: Path) -> None:
    """Every picture is in it, also of an image that was deleted; nothing is fetched; names cannot become markup."""
    diff = between(HERE, versions.first, versions.second)
    html = diff_text.write_page(diff, tmp_path / "page.html").read_text()
    pictures = re.findall(r'<img src="([^"]+)"', html)
    shown = sum(count for kind, count in diff.changes.counts.items() if kind != "confidence")
    assert len(pictures) == shown
    assert all(picture.startswith("data:image/") for picture in pictures)
    assert not re.search(r"https?://|<script|<link|url\(", html)
    assert 'title="own: pool/leaves.png"' in html
    diff.notes.append("<b>& a class")
    assert "&lt;b&gt;&amp; a class" in diff_text.write_page(diff, tmp_path / "page.html").read_text()


def test_the_command_and_its_files(own: Versions) -> None:
    """The terminal's counts, the CSV's rows and the JSON agree; a revision that is none is refused."""
    done = own.project.run(UNDERSTUDY, "diff", "HEAD~1", "--csv", "all.csv", "--top", "3")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 110
    rows = list(csv.DictReader(Path("all.csv").read_text(encoding="utf-8").splitlines()))
    value = json.loads(own.project.run(UNDERSTUDY, "diff", "HEAD~1", "--json").stdout)
    assert len(rows) == sum(value["counts"].values())
    assert f"{len(rows)} rows of the label table differ" in " ".join(done.stdout.split())
    assert {row["path"] for row in rows if row["kind"] == "removed"} == {"pool/leaves.png", "pool/edited.png"}
    assert Path(re.search(r"pictures: (\S+)", done.stdout)[1]).is_file()  # type: ignore[index]
    done = own.project.run(UNDERSTUDY, "diff", "nowhere")
    assert (done.returncode, "is no revision of git here" in done.stderr) == (2, True), done.stderr


def test_what_the_cache_lacks_is_said_and_comes_back(own: Versions) -> None:
    """Without the older table in the cache the error names the command, and that command brings it from a remote."""
    for command in (
        ("remote", "add", "-q", "--local", "-d", "far", "far"),
        ("push", "-q", "--all-commits", "curate@r1"),
    ):
        assert own.project.run("dvc", *command).returncode == 0
    shutil.rmtree(".dvc/cache")
    with pytest.raises(UserError, match=r"data/labels/r1 of HEAD~1 \(\w+\) is not in DVC's cache") as caught:
        between(HERE, "HEAD~1", "workspace")
    command = re.search(r"`(dvc fetch [^`]+)`", caught.value.fix)
    assert command
    done = own.project.run(*command[1].split())
    assert done.returncode == 0, done.stderr
    assert between(HERE, "HEAD~1", "workspace").changes.rows.num_rows
