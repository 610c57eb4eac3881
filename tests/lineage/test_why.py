"""`understudy why`: every image that was ever seen, what became of it, and nothing that is sealed."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows.lineage import why, why_text
from tasks import files
from tasks.errors import UserError
from tests.flows.conftest import UNDERSTUDY
from tests.lineage.conftest import POOL, Versions, picture

HERE = Path()


def _facts(word: str, revision: str = "workspace") -> dict[str, Any]:
    return why.facts(HERE, word, revision)


def _table(path: Path) -> pd.DataFrame:
    return files.read_table(path).to_pandas()


def test_every_image_has_its_role_and_no_sealed_label_is_told(own: Versions) -> None:
    """Roles equal those of the split and the sealed files, told without these; test labels and truth are kept."""
    sealed = {name: set(_table(files.SEALED / f"{name}.parquet")["image_id"]) for name in ("test", "truth")}
    assert all(sealed.values())
    expected = _table(files.SPLIT / "pool.parquet").set_index("image_id")["status"].to_dict()
    for name in ("labeled", "calib", "gate"):
        expected |= dict.fromkeys(_table(files.SPLIT / f"{name}.parquet")["image_id"], name)
    expected |= dict.fromkeys(sealed["test"], "test")
    shutil.rmtree(files.SEALED)
    found = {image_id: _facts(image_id) for image_id in own.now.values()}
    assert {image_id: facts["role"] for image_id, facts in found.items()} == expected
    assert set(expected.values()) == {
        "labeled",
        "calib",
        "gate",
        "test",
        "pool",
        "near_held_out",
        "near_duplicate",
        "conflict",
    }
    told = {image_id for image_id, facts in found.items() if facts["label"] not in {None, "sealed"}}
    assert not told & (sealed["test"] | sealed["truth"])
    assert {i for i, facts in found.items() if facts["label"] == "sealed"} >= sealed["test"] | sealed["truth"]


def test_a_round_is_what_its_tables_say(versions: Versions) -> None:
    """Probabilities, confidence, reason and rank of every pool image equal a plain reading of the whole tables."""
    probs = {row["image_id"]: row["prob"] for t in files.iter_tables(files.probs("r1")) for row in t.to_pylist()}
    table = _table(files.labels("r1") / "labels.parquet")
    table["by_people"] = table["reason"] == "human_label"
    ranked = table.sort_values(["by_people", "confidence", "image_id"], ascending=[False, False, True])
    place = ranked.groupby("label").cumcount() + 1
    assert {"kept", "low_confidence", "human_label"} <= set(table["reason"])
    for row in table.assign(place=place).to_dict("records"):
        (found,) = _facts(row["image_id"])["rounds"]
        assert (found["reason"], found["copies"]) == (row["reason"], row["copies"])
        if row["source"]:
            assert found["confidence"] == row["confidence"]
            assert [found["probabilities"][name] for name in "ab"] == list(probs[row["image_id"]])
            assert list(found["probabilities"].values()) == sorted(probs[row["image_id"]], reverse=True)
            mine = table[table["label"] == row["label"]]
            accepted = mine["reason"].isin(["kept", "human_label"]).sum()
            assert found["rank"] == {
                "place": row["place"],
                "of_class": len(mine),
                "passed": accepted,
                "accepted": accepted,
            }
            assert (found["threshold"]["value"], found["threshold"]["how"]) == (0.55, "fixed")


def test_copies_and_contradictions_are_named(versions: Versions) -> None:
    """A near copy says of which image, how far and what that one is for; a contradiction lists both labels."""
    now = versions.now
    (copy,) = _facts("pool/near-test.jpg")["copies"]
    assert (copy["image_id"], copy["role"], copy["kind"]) == (now["test/a/0.png"], "test", "near")
    assert 0 < copy["distance"] <= 0.2
    (copy,) = _facts("labeled/a/3.png")["copies"]
    assert (copy["image_id"], copy["role"]) == (now["pool/near-labeled.jpg"], "near_duplicate")
    given = {row["path"]: row["label"] for row in _facts("labeled/b/contradicts.jpg")["conflict"]}
    assert given == {"labeled/a/2.png": "a", "labeled/b/contradicts.jpg": "b"}


def test_an_image_is_found_by_any_of_its_names(own: Versions) -> None:
    """Id, first digits, path, SOURCE:PATH, the file on disk and a copy of it elsewhere all mean the same image."""
    image_id = own.now["pool/1.png"]
    Path("elsewhere.bin").write_bytes(picture(1001))
    for word in (image_id, image_id[:12], "pool/1.png", "own:pool/1.png", "source/pool/1.png", "elsewhere.bin"):
        assert _facts(word)["image_id"] == image_id, word
    with pytest.raises(UserError, match=r"(?s)no image 'pool/1\.jpg'.*own:pool/1\.png"):
        _facts("pool/1.jpg")
    close = image_id[:11] + ("0" if image_id[11] != "0" else "1")
    with pytest.raises(UserError, match=image_id):
        _facts(close)
    Path("stranger.png").write_bytes(picture(9999))
    with pytest.raises(UserError, match="was never taken in"):
        _facts("stranger.png")
    Path("source/pool/1.png").write_bytes(picture(9999))
    changed = _facts("source/pool/1.png")
    assert (changed["image_id"], "has changed since" in changed["notes"][0]) == (image_id, True)


def test_what_left_its_source_is_still_known(versions: Versions) -> None:
    """Deleted and edited images say where they lay and what lies there now; the revision has their rounds."""
    deleted, edited = (_facts(versions.before[path]) for path in ("pool/leaves.png", "pool/edited.png"))
    assert (deleted["role"], edited["role"]) == ("left", "left")
    assert [place["now"] for facts in (deleted, edited) for place in facts["was"]["sources"]] == [
        None,
        versions.now["pool/edited.png"],
    ]
    assert versions.first.startswith(deleted["was"]["version"])
    assert _facts("pool/leaves.png")["version"] == versions.first[:9], "by its path, in the last version that had it"
    assert [found["round"] for found in _facts(versions.before["pool/leaves.png"], versions.first)["rounds"]] == ["r1"]


def test_refused_files_say_why(versions: Versions) -> None:
    """By path and by content: the reason in quarantine; a file that cannot be hashed to an image has none."""
    broken, torn = _facts("pool/broken.png"), _facts("labeled/b/torn.png")
    assert [facts["role"] for facts in (broken, torn)] == ["refused", "refused"]
    assert broken["quarantine"][0]["reason"] != torn["quarantine"][0]["reason"] == "label_conflict"
    assert len(_facts("source/labeled/a/torn.png")["quarantine"]) == 2, "both places of the same bytes"


def test_commits_people_and_revisions(own: Versions) -> None:
    """The teacher is of the first commit, the table of the second; what is not committed says so."""
    image_id = own.before[POOL[0]]
    facts, before = _facts(image_id), _facts(image_id, own.first)
    (now,), (then,) = facts["rounds"], before["rounds"]
    assert [now[name]["commit"]["hash"] for name in ("teacher", "table")] == [own.first, own.second]
    assert (now["teacher"]["understudy"], now["teacher"]["here"]) == ("0.0.1", True)
    assert [(row["who"], row["what"], row["in_force"]) for row in facts["people"]] == [("Bea", "relabel b", True)]
    assert (now["source"], then["source"]) == ("human", "teacher:r0")
    assert (then["threshold"]["value"], then["table"]["commit"]["hash"]) == (0.6, own.first)
    record = files.labels("r1") / files.MANIFEST
    record.write_text(record.read_text() + "\n")
    (fresh,) = _facts(image_id)["rounds"]
    assert fresh["table"]["commit"] is None
    shutil.rmtree(".git")
    assert _facts(image_id)["rounds"][0]["teacher"]["commit"] is None


def test_eighty_columns_hold_all_of_it(
    own: Versions, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is longer, no id is cut, and names from outside cannot move the cursor."""
    monkeypatch.setenv("COLUMNS", "80")
    one_each = {facts["role"]: facts for facts in map(_facts, [*own.now.values()][::2])}
    one_each["left"] = _facts(own.before["pool/leaves.png"])
    for facts in one_each.values():
        image_id = facts["image_id"]
        why_text.show(facts)
        said = capsys.readouterr().out
        assert max(map(len, said.splitlines())) <= 80
        assert said.count(image_id) >= 1
    facts = _facts("pool/2.png")
    facts["sources"][0]["path"] = "pool/\x1b[2Jx.png"
    why_text.show(facts)
    assert "\x1b" not in capsys.readouterr().out


def test_the_command_says_the_same_for_machines(versions: Versions) -> None:
    """`--json` is the facts; an unknown image ends with exit 2 and no traceback."""
    done = versions.project.run(UNDERSTUDY, "why", "pool/3.png", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == _facts("pool/3.png")
    done = versions.project.run(UNDERSTUDY, "why", "nothing.png")
    assert (done.returncode, done.stderr.startswith("error [unknown_image]")) == (2, True), done.stderr
