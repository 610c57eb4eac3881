"""The report: what it says in plain words, what adds up, and that it needs nothing but itself."""

import io
import re
import subprocess
import sys
from base64 import b64decode, b64encode
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tasks import files, report, wording
from tasks.images.thumbnails import data_uri
from tests import fabricated
from tests.conftest import ROOT

HOSTILE = ["<b>x", '"onload="alert(1)', "{{ 7*7 }}"]
REASONS = ["kept", "low_confidence", "class_full", "human_label", "human_rejected", "held_out"]
TITLE = "<script>alert(1)</script> $x$ & co"
CLASS_HEADER = "class,n,precision,recall,kept,label_precision,precision_low,precision_high,recall_low,recall_high"
CURVE = "step,loss,loss_labeled,loss_pseudo,lr\n1,2.0,2.0,,0.1\n2,1.0,1.0,,0.1\n"


def _gain(points: float, verdict: str) -> dict[str, Any]:
    numbers = {"points": points, "low": points - 2, "high": points + 2, "p_value": 0.01, "gained": 9, "lost": 1}
    return numbers | {"verdict": verdict}


def _scores(round_: str, classes: list[str], *, points: float, verdict: str, measured: bool) -> dict[str, Any]:
    net = {"accuracy": 0.9, "low": 0.88, "high": 0.92, "nll": 0.3, "ece": 0.02}
    gains = {f"gain_over_{role}": _gain(points, verdict) for role in ("teacher", "baseline")}
    nets = {
        role: {"key": key, "net": "wrn10", "width": 2, "parameters": 1000, "steps": 30, "artefact": "ab" * 32}
        for role, key in (("baseline", "baseline"), ("teacher", f"r{int(round_[1:]) - 1}"), ("student", round_))
    }
    labels = {"pool": 60, "kept": 20, "human": 10, "coverage": 20 / 60, "precision_n": 20 if measured else 0}
    right = {"precision": 0.95, "precision_low": 0.78} if measured else {"precision": None, "precision_low": None}
    return {
        "round": round_,
        "classes": classes,
        "nets": nets,
        "test": {"n": 6, "baseline": net, "teacher": net, "student": net} | gains if measured else None,
        "gate": None,
        "labels": labels | right,
        "knn": {"accuracy": 0.8, "k": 3, "neighbours": 50, "left_out": 0.9, "gain": _gain(points, verdict)}
        if measured
        else None,
        "flow": {"kept": 10, "changed": 5, "gained": 5, "lost": 5, "never": 35},
        "equal_budget": True,
        "budget": {role: {"parameters": 1000, "steps": 30} for role in nets},
    }


def make(classes: list[str], *, points: float = 4.0, verdict: str = "better", measured: bool = True) -> str:
    """Two made-up rounds, reported; the page."""
    chosen = fabricated.settings(title=TITLE)
    ids = fabricated.images(70)
    pool, test = ids[:60], ids[60:66]
    rows = {i: (classes[n % len(classes)], n / 60, REASONS[n % 6]) for n, i in enumerate(pool)}
    status = {i: "held_out" if rows[i][2] == "held_out" else "pool" for i in pool}
    fabricated.split(classes, train=dict.fromkeys(ids[66:], classes[0]), pool=status, test={})
    intake = fabricated.pa.table({"image_id": ids})
    refused = fabricated.pa.table({"reason": ["truncated", "truncated", "<i>odd"], "path": ["a", "b", "c"]})
    fabricated.publish(files.catalog("digits"), images=intake)
    fabricated.publish(files.quarantine("digits"), quarantine=refused)
    for key in ("baseline", "r0", "r1", "r2"):
        fabricated.publish(files.curves(key), train__csv=CURVE)
    said = {name: [classes[0]] * 6 if measured else [] for name in ("label", "baseline", "teacher", "student")}
    for round_ in ("r1", "r2"):
        fabricated.label_table(round_, rows)
        right, wrong = ('"' + name.replace('"', '""') + '"' for name in classes[:2])
        pairs = f"{right},{right}\n" * 5 + f"{right},{wrong}\n"
        fabricated.publish(
            files.scores(round_),
            scores=_scores(round_, classes, points=points, verdict=verdict, measured=measured),
            predictions=fabricated.pa.table({"image_id": test if measured else [], **said}),
            confusion__csv="actual,predicted\n" + pairs * measured,
            reliability__csv="confidence,accuracy,n\n" + "0.8,0.9,3\n0.95,1.0,3\n" * measured,
            per_class__csv=f"{CLASS_HEADER}\n{right},6,,1.0,10,,,,0.61,1.0\n",
            flow__csv=f"before,after,n,known,right\n,,35,0,0\n,{right},5,5,4\n{right},{wrong},5,5,2\n{wrong},,5,5,0\n",
            changes__csv="change,n\nkept,10\nchanged,5\ngained,5\nlost,5\nnever,35\n",
            coverage__csv="coverage,confidence,precision,low,high,n\n"
            + "0.5,0.9,1.0,0.8,1.0,9\n1.0,0.5,0.9,0.8,1,18\n" * measured,
            coverage_held__csv="coverage,confidence,precision,low,high,n\n" + "1.0,0.5,0.9,0.8,1.0,18\n" * measured,
        )
    fabricated.run(report.report, report.PARAMS, chosen)
    return (files.REPORT / "report.html").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Page(HTMLParser):
    """The elements and the text a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.values: list[str] = []
        self.names: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}
        self.values += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href", "srcset"}]

    def handle_data(self, data: str) -> None:
        self.text += data


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
    final = _scores("r2", ["ant"], points=points, verdict=verdict, measured=True)
    found = wording.verdict(final, {"baseline": _gain(points, verdict), "r0": _gain(points, verdict)})
    assert said in found["headline"]
    assert found["tone"] == verdict
    assert f"interval {wording.points(points - 2)} to {wording.points(points + 2)}" in " ".join(found["sentences"])


def test_an_unequal_budget_is_said_first() -> None:
    """A student that was given more than the supervised-only net does not get to claim that self-training helped."""
    final = _scores("r2", ["ant"], points=4, verdict="better", measured=True) | {"equal_budget": False}
    found = wording.verdict(final, {"baseline": _gain(4, "better"), "r0": _gain(4, "better")})
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
    declared = [next(iter(p)) for p in yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]]
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
