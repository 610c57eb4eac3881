"""A made-up finished run of two rounds, reported; and the page as a browser would see it."""

from html.parser import HTMLParser
from typing import Any

from tasks import files, report
from tests import fabricated

REASONS = ["kept", "low_confidence", "class_full", "human_label", "human_rejected", "held_out"]
TITLE = "<script>alert(1)</script> $x$ & co"
CLASS_HEADER = "class,n,precision,recall,kept,label_precision,precision_low,precision_high,recall_low,recall_high"
CURVE = "step,loss,loss_labeled,loss_pseudo,lr\n1,2.0,2.0,,0.1\n2,1.0,1.0,,0.1\n"


def gain(points: float, verdict: str) -> dict[str, Any]:
    numbers = {"points": points, "low": points - 2, "high": points + 2, "p_value": 0.01, "gained": 9, "lost": 1}
    return numbers | {"verdict": verdict}


def scores(round_: str, classes: list[str], *, points: float, verdict: str, measured: bool) -> dict[str, Any]:
    net = {"accuracy": 0.9, "low": 0.88, "high": 0.92, "nll": 0.3, "ece": 0.02}
    gains = {f"gain_over_{role}": gain(points, verdict) for role in ("teacher", "baseline")}
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
        "knn": {"accuracy": 0.8, "k": 3, "neighbours": 50, "left_out": 0.9, "gain": gain(points, verdict)}
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
            scores=scores(round_, classes, points=points, verdict=verdict, measured=measured),
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
