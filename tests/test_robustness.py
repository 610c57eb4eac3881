"""The stage `robustness`: what it writes when it is off, what it measures when on, and that a kill costs nothing."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tasks import files, robustness
from tasks.core.severities import CORRUPTIONS
from tasks.core.shifts import SHIFTS
from tasks.models import build_from, save_model
from tasks.params import Settings, load
from tasks.stage import Stage
from tests import fabricated
from tests.conftest import ROOT

CLASSES = ["ant", "bee", "cow"]
FEW = {"images": 14, "corruptions": ["fog", "gaussian_noise"], "frames": 3, "eps": [2, 8], "pgd_steps": 2}


def _settings(chunk: int = 5, **chosen: Any) -> Settings:
    fabricated.settings()
    raw = yaml.load(Path("params.yaml").read_text(), yaml.CSafeLoader)
    raw["robustness"] |= chosen
    raw["label"]["chunk"] = chunk
    Path("params.yaml").write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper, sort_keys=False))
    return load()


def _net(key: str, seed: int) -> None:
    """A net that was never trained, which knows nothing and is wrong often."""
    staged = files.WORK / "net"
    staged.mkdir(parents=True)
    card = {"net": "wrn10mp", "width": 1, "dropout": 0.0, "stochastic_depth": 0.0, "channels": 1, "key": key}
    card |= {"classes": CLASSES, "size": 8, "steps": 1, "parameters": 1}
    torch.manual_seed(seed)
    save_model(staged, build_from(card), card)
    files.seal(staged, {"stage": "made"})
    files.move_into_place(staged, files.champion(key) if key == "r0" else files.model(key))


@pytest.fixture
def ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """20 test images and two nets in the current folder."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    ids = fabricated.images(20)
    fabricated.split(CLASSES, train={}, pool={}, test={i: CLASSES[n % 3] for n, i in enumerate(ids)})
    _net("r0", 0), _net("r1", 1)
    return ids


def _run(settings: Settings) -> dict[str, Any]:
    fabricated.run(robustness.robustness, robustness.PARAMS, settings, "r1")
    found: dict[str, Any] = files.read_json(files.robustness("r1") / "robustness.json")
    return found


def test_what_is_off_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no images asked for nothing has to be there; the artefact says null, the plots are empty."""
    monkeypatch.chdir(tmp_path)
    assert _run(_settings(images=0)) is None
    assert files.read_json(files.metrics("robustness@r1"))["mce"] is None
    assert (files.robustness("r1") / "severity.csv").read_text() == "severity,teacher,student\n"


def test_while_it_is_off_torch_stays_away() -> None:
    """The stage's module imports neither torch nor cv2, which cost seconds."""
    code = "import sys, tasks.robustness; print(*{'torch', 'cv2', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_without_test_images_it_is_not_measured(ids: list[str]) -> None:
    """A project without a test has nothing to make worse; that is no error."""
    fabricated.publish(files.SEALED, test=fabricated.labeled({}), truth=fabricated.labeled({}))
    assert _run(_settings(**FEW)) is None


def test_its_summary_is_that_of_the_outcomes(ids: list[str]) -> None:
    """mCE, flips and attacks can be recomputed from the table, image by image; all 14 images are test images."""
    found = _run(_settings(**FEW))
    table = files.read_table(files.robustness("r1") / "results.parquet").to_pandas()
    assert found["images"] == len(table) == 14
    assert set(table["image_id"]) < set(ids)
    assert list(table["image_id"]) == sorted(table["image_id"])
    ratios = []
    for name in FEW["corruptions"]:
        wrong = {
            r: table[[f"{r}:corrupted:{name}:{s}" for s in range(1, 6)]].to_numpy() for r in ("teacher", "student")
        }
        ratios.append(wrong["student"].sum() / wrong["teacher"].sum())
        assert found["mce"]["each"][name]["student"] == pytest.approx(wrong["student"].mean(), abs=1e-6)
    assert found["mce"]["value"] == pytest.approx(100 * sum(ratios) / 2, abs=1e-3)
    assert set(found["mfr"]["each"]) == set(SHIFTS)
    assert found["mfr"]["each"]["rotate"]["teacher"] == pytest.approx(table["teacher:shifted:rotate"].mean(), abs=1e-6)
    assert [attack["eps"] for attack in found["pgd"]] == [2, 8]
    assert found["fgsm"][1]["student"] == pytest.approx(1 - table["student:fgsm:8"].mean(), abs=1e-6)
    metrics = files.read_json(files.metrics("robustness@r1"))
    assert metrics["mce"]["value"] == found["mce"]["value"]
    assert metrics["pgd"]["eps_8"] == {role: found["pgd"][1][role] for role in ("teacher", "student")}
    rows = (files.robustness("r1") / "severity.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["severity", *"012345"]


def test_all_means_all_15_and_every_test_image(ids: list[str]) -> None:
    """`corruptions: all` with more images than there are: 75 columns a net, 20 rows; what is off stays null."""
    found = _run(_settings(chunk=100, images=1000, corruptions="all", frames=0, eps=[], pgd_steps=0))
    assert (found["images"], set(found["mce"]["each"])) == (20, set(CORRUPTIONS))
    assert (found["mfr"], found["fgsm"], found["pgd"]) == (None, [], [])


def test_a_net_against_itself_is_100(ids: list[str]) -> None:
    """The same weights as teacher and student: mCE and mFR of 100 exactly, no image gained or lost to an attack."""
    _net("r1", 0)
    found = _run(_settings(**FEW))
    assert (found["mce"]["value"], found["mfr"]["value"]) == (100, 100)
    assert all(a["gain"]["gained"] == a["gain"]["lost"] == 0 for a in found["fgsm"] + found["pgd"])


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Of three chunks two were done when it was killed: the third is computed, and the table is the same to the byte.

    So it is when all images go through in one chunk: nobody's outcome depends on its neighbours.
    """
    few = FEW | {"corruptions": ["fog"], "frames": 2, "eps": [2]}
    settings = _settings(**few)
    _run(settings)
    expected = files.sha256_file(files.robustness("r1") / "results.parquet")
    killed = Stage("robustness@r1", settings, [p.format(key="r1") for p in robustness.PARAMS])
    robustness.robustness(killed, "r1")  # never published: its chunks lie where a killed run leaves them
    chunks = sorted(files.WORK.glob("robustness@r1/resume/*/chunk-*.parquet"))
    assert [files.rows(path) for path in chunks] == [5, 5, 4]
    chunks[1].unlink()
    _run(settings)
    assert "9 of 14 images were tested before the interruption" in capsys.readouterr().out
    assert files.sha256_file(files.robustness("r1") / "results.parquet") == expected
    _run(_settings(**few, chunk=100))
    assert files.sha256_file(files.robustness("r1") / "results.parquet") == expected
