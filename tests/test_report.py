"""The report: what it says in plain words, what adds up, and that it needs nothing but itself."""

import io
import re
import subprocess
import sys
from base64 import b64decode, b64encode
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tasks import files, report, wording
from tasks.images.thumbnails import data_uri
from tests import fabricated
from tests.conftest import ROOT
from tests.reported import TITLE, Page, gain, make, scores

HOSTILE = ["<b>x", '"onload="alert(1)', "{{ 7*7 }}"]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_nothing_is_loaded_from_elsewhere() -> None:
    """No address of another host, no script, and every link or image lies in the page itself."""
    html = make(["ant", "bee", "cow"])
    page = Page(html)
    assert not re.search(r"(?:https?:)?//[\w.]", re.sub(r"base64,[\w+/=]+", "", html))
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "@import" not in html
    assert all(value.startswith(("data:image/", "#")) for value in page.values)
    assert set(re.findall(r"url\((.)", html)) <= {"#"}


def test_names_of_users_are_text() -> None:
    """Class names, reasons and titles with markup are shown as they are and never become elements or attributes."""
    page = Page(make(HOSTILE))
    for name in (*HOSTILE, TITLE, "<i>odd"):
        assert name in page.text
    assert page.tags.count("script") == 0
    assert "onload" not in page.names
    assert "49" not in page.text.split("Where the final student errs")[1].split("Images")[0]


def test_counts_of_every_round_add_up_to_the_pool() -> None:
    """The reasons of each column of the table sum to the pool's row."""
    html = make(["ant", "bee", "cow"])
    table = html[html.index("<h2>Labels of the pool") :]
    body, foot = table.split("</tbody>")[0].split("<tbody>")[1], table.split("<tfoot>")[1]
    columns = zip(
        *([int(n) for n in re.findall(r"<td>(\d+)</td>", row)] for row in body.split("</tr>")[:-1]), strict=True
    )
    assert [sum(column) for column in columns] == [60, 60]
    assert re.findall(r"<td>(\d+)</td>", foot)[:2] == ["60", "60"]


@pytest.mark.parametrize(
    ("points", "verdict", "said"),
    [
        (4.0, "better", "Self-training helped"),
        (-4.0, "worse", "Self-training hurt"),
        (0.5, "within noise", "within noise of each other"),
    ],
)
def test_the_verdict_is_said_in_plain_words(points: float, verdict: str, said: str) -> None:
    """The headline follows the paired comparison, and noise is called noise."""
    final = scores("r2", ["ant"], points=points, verdict=verdict, measured=True)
    found = wording.verdict(final, {"baseline": gain(points, verdict), "r0": gain(points, verdict)})
    assert said in found["headline"]
    assert found["tone"] == verdict
    assert f"interval {wording.points(points - 2)} to {wording.points(points + 2)}" in " ".join(found["sentences"])


def test_an_unequal_budget_is_said_first() -> None:
    """A student that was given more than the supervised-only net does not get to claim that self-training helped."""
    final = scores("r2", ["ant"], points=4, verdict="better", measured=True) | {"equal_budget": False}
    found = wording.verdict(final, {"baseline": gain(4, "better"), "r0": gain(4, "better")})
    assert "not at equal budget" in found["headline"]
    assert "helped" not in found["headline"]


def test_without_test_and_truth_it_says_not_measured() -> None:
    """No number is made up: neither an accuracy nor a share of right labels appears, zero included."""
    html = make(["ant", "bee"], measured=False)
    text = Page(html).text
    assert "Not measured: there are no test images" in text
    assert "How many of these labels are right was not measured" in text
    assert text.count(wording.NOT_MEASURED) >= 4 + 2 + 1  # nets, rounds, sentence
    assert "Accuracy of each net" not in html
    assert files.read_json(files.metrics("report"))["verdict"] is None


def test_it_says_how_copies_were_looked_for() -> None:
    """By their look too, at the distance of the settings; it no longer says that only bytes are compared."""
    text = Page(make(["ant", "bee"])).text
    distance = fabricated.settings().split.duplicates.distance
    assert f"images that look alike (split.duplicates.distance: {distance})" in text
    assert "compared by the sha256" not in text


def test_shares_are_never_rounded_up_to_everything() -> None:
    """99.98 % is not 100 %, all is, and nothing measured is not a number."""
    assert wording.percent(0.9998).startswith("99.9")
    assert wording.percent(1.0).startswith("100.0")
    assert wording.percent(None) == "not measured"
    assert (wording.points(-0.04), wording.points(-3.2)) == ("0.0", "−3.2")  # noqa: RUF001


def test_many_classes_list_mistakes_instead_of_a_matrix() -> None:
    """A hundred classes make no unreadable table of ten thousand cells."""
    page = Page(make([f"class {i:03d}" for i in range(100)]))
    assert Counter(page.tags)["td"] < 1000
    assert re.search(r"student says\s*images\s*class 000\s*class 001\s*1\s", page.text)


def test_large_images_are_shown_smaller() -> None:
    """A page of thumbnails stays small whatever the camera; small images go in as they are stored."""
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    large, small = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels).save(large, "WEBP", lossless=True)
    Image.fromarray(pixels[:8, :8]).save(small, "BMP")
    kind, content = data_uri(large.getvalue()).split(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(b64decode(content))).size == (112, 112)
    assert data_uri(small.getvalue()) == f"data:image/bmp;base64,{b64encode(small.getvalue()).decode()}"


def test_galleries_show_the_doubtful_ones() -> None:
    """The first image shown is the least confident kept one; the first refused is the most confident refused one."""
    html = make(["ant", "bee", "cow"])
    table = files.read_table(files.labels("r2") / "labels.parquet").to_pylist()
    kept = min((r for r in table if r["reason"] == "kept"), key=lambda r: r["confidence"])
    refused = max((r for r in table if r["reason"] in {"low_confidence", "class_full"}), key=lambda r: r["confidence"])
    kept_part, refused_part = html.split("Least confident kept")[1].split("Most confident refused")
    for part, row in ((kept_part, kept), (refused_part, refused)):
        first = re.search(r'title="(\w{64})"', part)
        assert first
        assert first[1] == row["image_id"]


def test_plots_for_dvc_hold_nothing_but_csv() -> None:
    """`dvc plots` reads whole folders: each holds one CSV per net or round and nothing it could stumble over."""
    make(["ant", "bee"])
    found = sorted(p.relative_to(files.REPORT / "plots").as_posix() for p in (files.REPORT / "plots").rglob("*.*"))
    curves = [f"training/{key}.csv" for key in ("baseline", "r0", "r1", "r2")]
    kinds = ("confusion", "coverage", "coverage_held", "flow", "recall", "reliability")
    assert found == sorted([*(f"{kind}/{round_}.csv" for kind in kinds for round_ in ("r1", "r2")), *curves])
    declared = [next(iter(p)) for p in yaml.load((ROOT / "dvc.yaml").read_text(), yaml.CSafeLoader)["plots"]]
    assert {f"data/report/plots/{path.split('/')[0]}" for path in found} <= set(declared)


def test_same_artefacts_same_page() -> None:
    """The page holds no time, no host and no random name."""
    html = make(["ant", "bee"])
    fabricated.run(report.report, report.PARAMS, fabricated.settings(title=TITLE))
    assert (files.REPORT / "report.html").read_text(encoding="utf-8") == html


def test_the_report_never_imports_torch() -> None:
    """It must be cheap: no torch, torchvision or pandas behind it."""
    code = "import sys, tasks.report; print(*{'torch', 'torchvision', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
