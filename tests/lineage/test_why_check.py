"""`understudy why --check`: the named teacher says again what is stored, or it is noticed."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from flows.lineage import why
from flows.lineage.why_check import check_image, check_random
from tasks import files
from tasks.errors import INTEGRITY, UserError
from tests.lineage.conftest import NETS, Versions

HERE = Path()


def _harm(by: float) -> None:
    """Move the stored probabilities of one image; the artefact is sealed anew, so that only the teacher can tell."""
    (path,) = files.parts(files.probs("r1"))
    table, record = files.read_table(path), files.read_json(path.parent / files.MANIFEST)
    prob_NC = pc.list_flatten(table["prob"]).to_numpy().reshape(len(table), -1).copy()
    prob_NC[7] += [by, -by] if prob_NC[7, 0] < 0.5 else [-by, by]
    flat = pa.FixedSizeListArray.from_arrays(pa.array(prob_NC.ravel(), pa.float32()), 2)
    for old in (path, path.parent / files.MANIFEST):
        old.unlink()
    files.write_table(pa.table({"image_id": table["image_id"], "prob": flat}), path)
    files.seal(path.parent, {name: value for name, value in record.items() if name not in {"files", "schema"}})


def test_teachers_say_again_what_is_stored(own: Versions, capsys: pytest.CaptureFixture[str]) -> None:
    """All images agree; one that is off by 0.0001 is named and ends with the exit code of a damaged artefact."""
    assert check_random(HERE, 1000, 1, "workspace", None) == 0
    images = sum(files.rows(path) for path in files.parts(files.probs("r1")))
    assert f"{images} of {images} as stored" in capsys.readouterr().out
    _harm(1e-4)
    assert check_random(HERE, 1000, 1, "workspace", None) == INTEGRITY
    ids = files.read_table(files.parts(files.probs("r1"))[0])["image_id"].to_pylist()
    assert f"{ids[7]} differs by 1.0e-04" in capsys.readouterr().out
    facts = why.facts(HERE, str(ids[7]), "workspace")
    assert check_image(HERE, facts, "workspace") == INTEGRITY
    assert not facts["rounds"][0]["again"]["same"]


def test_the_net_that_was_asked_is_found_after_another_took_its_place(own: Versions) -> None:
    """Of an older revision, and from DVC's cache where the workspace holds another net; else an error names it."""
    assert check_random(HERE, 5, 1, own.first, None) == 0
    for net in NETS:
        card = Path(net) / "card.json"
        card.write_text(card.read_text() + "\n")
        record = files.read_json(Path(net) / files.MANIFEST)
        files.seal(Path(net), {"stage": "teacher", "version": record["version"], "inputs": {}})
    facts = why.facts(HERE, "pool/3.png", "workspace")
    assert not facts["rounds"][0]["teacher"]["here"]
    assert facts["rounds"][0]["teacher"]["commit"]["hash"] == own.first
    assert check_random(HERE, 5, 1, "workspace", None) == 0
    shutil.rmtree(".dvc/cache")
    with pytest.raises(UserError, match="not in DVC's cache"):
        check_random(HERE, 5, 1, "workspace", None)


def test_a_seed_draws_the_same_images(versions: Versions, capsys: pytest.CaptureFixture[str]) -> None:
    """The seed printed draws them again."""
    said = []
    for seed in (5, 5, 6):
        assert check_random(HERE, 4, seed, "workspace", "r1") == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert "--seed 5" in said[0]
    assert "--seed 6" in said[2]


def test_records_of_before_the_gate_name_the_net_as_a_whole(own: Versions) -> None:
    """A table that an older version made is explained and checked like one of today."""
    folder = files.probs("r1")
    record = files.read_json(folder / files.MANIFEST)
    inputs = {path: value for path, value in record["inputs"].items() if not path.startswith("data/champions")}
    record["inputs"] = inputs | {NETS[0]: files.manifest_hash(Path(NETS[0]))}
    files.write_json(record, folder / files.MANIFEST)
    (found,) = why.facts(HERE, "pool/3.png", "workspace")["rounds"]
    assert (found["teacher"]["artefact"], found["teacher"]["here"]) == (NETS[0], True)
    assert check_random(HERE, 5, 1, "workspace", None) == 0
