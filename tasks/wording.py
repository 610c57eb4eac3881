"""The report's sentences: what the numbers say in plain words, and no more than they say."""

from typing import Any

from tasks.core.seeds import FEWEST, Difference

REASONS = {
    "kept": "kept",
    "human_label": "labeled by a person",
    "low_confidence": "confidence too low",
    "below_promise": "class without the promised precision",
    "kept_soft": "kept softly, without the promised precision",
    "class_full": "class already full",
    "source_cap": "source already at its cap",
    "human_rejected": "rejected by a person",
    "human_conflict": "people disagree; one more word settles it",
    "held_out": "held out for test, gate or calibration",
    "near_held_out": "near copy of an image held out for test, gate or calibration",
    "duplicate": "copy of a labeled image",
    "near_duplicate": "near copy of a labeled image",
    "conflict": "given two labels; a person decides",
    "unlabeled": "not labeled",
}
HEADLINES = {
    "better": "Self-training helped: {student} beats supervised-only training.",
    "worse": "Self-training hurt: {student} is worse than supervised-only training.",
    "within noise": "No proven gain: {student} and supervised-only training are within noise of each other.",
}
UNEQUAL = {
    "better": "{student} beats supervised-only training, but not at equal budget.",
    "worse": "{student} is worse than supervised-only training, but not at equal budget.",
    "within noise": "{student} and supervised-only training are within noise of each other, but not at equal budget.",
}
OVER_SEEDS = {
    "better": "Self-training helped: over {n} seeds {student} beats supervised-only training, if not in this one",
    "worse": "Self-training hurt: over {n} seeds {student} is worse than supervised-only training",
    "within noise": "No proven gain: over {n} seeds {student} and supervised-only training are within noise",
}
NOT_MEASURED = "not measured"


def net(key: str) -> str:
    """A net's key as people read it."""
    names = {"baseline": "supervised-only", "r0": "teacher r0"}
    return names.get(key, f"student {key}")


def difference(share: float | None) -> str:
    """A difference of shares in points: 0.0325 as +3.2."""
    return "\N{EN DASH}" if share is None else points(100 * share)


def percent(share: float | None, digits: int = 1) -> str:
    """0.9725 as 97.2 %; a share that is not all never reads as 100 %."""
    if share is None:
        return NOT_MEASURED
    text = f"{100 * share:.{digits}f}"
    if share < 1 and float(text) == 100:
        text = f"{100 - 10**-digits:.{digits}f}"
    return f"{text}\N{NO-BREAK SPACE}%"


def points(value: float) -> str:
    """3.25 as +3.2, with a true minus."""
    text = f"{value:+.1f}"
    return ("0.0" if float(text) == 0 else text).replace("-", "\N{MINUS SIGN}")


def count(value: int | None) -> str:
    """1347 as 1,347."""
    return NOT_MEASURED if value is None else f"{value:,}"


def verdict(final: dict[str, Any], gains: dict[str, dict[str, Any]] | None) -> dict[str, Any]:
    """Headline, tone and sentences about the final student (scores.json of its round)."""
    student = f"student {final['nets']['student']['key']}"
    if gains is None:
        headline = "Not measured: there are no test images, so nobody knows whether self-training helped."
        advice = "Set split.test in params.yaml, or bring a test set, to find out."
        return {"headline": headline, "tone": NOT_MEASURED, "sentences": [advice, _labels(final["labels"])]}
    test = final["test"]
    mine = test["student"]
    right = f"S{student[1:]} is right on {percent(mine['accuracy'])} of {count(test['n'])} sealed test images"
    right += f" (95 % interval {percent(mine['low'])} to {percent(mine['high'])})."
    sentences = [
        right,
        _gain("Against supervised-only training", gains["baseline"]),
        _budget(final),
        _gain("Against the first teacher", gains["r0"]),
        _labels(final["labels"]),
    ]
    tone = gains["baseline"]["verdict"]
    headline = (HEADLINES if final["equal_budget"] else UNEQUAL)[tone].format(student=student)
    return {"headline": headline[0].upper() + headline[1:], "tone": tone, "sentences": sentences}


def held(said: dict[str, Any], final: str, champion: str) -> dict[str, Any]:
    """The verdict where the gate did not let the last student through: who is champion comes first."""
    if champion == "r0":
        headline = "Teacher r0 is the champion: no student passed the gate, or a person went back to it."
        first = "What follows speaks of the last student, which is not in use."
        return said | {"headline": headline, "tone": "worse", "sentences": [first, *said["sentences"]]}
    first = f"{net(champion)} is the champion, of which this verdict speaks: the gate held {net(final)}, or a person "
    first = f"{first[0].upper()}{first[1:]}went back."
    return said | {"sentences": [first, *said["sentences"]]}


def over_seeds(said: dict[str, Any], student: str, gain: Difference, equal_budget: bool) -> dict[str, Any]:
    """The verdict with what several seeds say; where they and the one run differ, the seeds have the headline."""
    told = said | {"sentences": [_seeds(student, gain), *said["sentences"]]}
    if gain.verdict not in OVER_SEEDS or gain.verdict == said["tone"]:
        return told
    headline = OVER_SEEDS[gain.verdict].format(n=gain.n, student=student)
    return told | {
        "headline": headline + ("." if equal_budget else ", but not at equal budget."),
        "tone": gain.verdict,
    }


def _seeds(student: str, gain: Difference) -> str:
    text = f"Over {gain.n} seeds {student} is {difference(gain.mean)} points from supervised-only training on average"
    if gain.low is not None and gain.high is not None:
        text += f" (95 % interval {difference(gain.low)} to {difference(gain.high)})"
    return f"{text}: {'fewer than three seeds make no claim' if gain.n < FEWEST else gain.verdict}."


def _gain(against: str, gain: dict[str, Any]) -> str:
    numbers = f"{points(gain['points'])} points (95 % interval {points(gain['low'])} to {points(gain['high'])})"
    differ = f"{gain['gained']} images gained, {gain['lost']} lost, exact McNemar p = {gain['p_value']:.2g}"
    return f"{against}: {numbers}, {gain['verdict']}; {differ}."


def _budget(final: dict[str, Any]) -> str:
    student, baseline = final["budget"]["student"], final["budget"]["baseline"]
    if final["equal_budget"]:
        same = f"Both have {count(student['parameters'])} parameters and took {count(student['steps'])} steps"
        return f"{same}; a step of the student also holds pseudo-labeled images."
    return (
        f"This is not a comparison at equal budget: the student has {count(student['parameters'])} parameters and "
        f"{count(student['steps'])} steps, the supervised-only net {count(baseline['parameters'])} and "
        f"{count(baseline['steps'])}. Give the baseline in params.yaml the last student's net, width and steps."
    )


def _labels(labels: dict[str, Any]) -> str:
    learnt = f"{count(labels['kept'])} of {count(labels['pool'])} pool images are learnt from"
    learnt += f" ({percent(labels['coverage'])})"
    if labels["human"]:
        learnt += f", {count(labels['human'])} of them with a person's label"
    if labels["precision"] is None:
        return f"{learnt}. How many of these labels are right was not measured: the pool has no hidden truth."
    low = percent(labels["precision_low"])
    return (
        f"{learnt}. {percent(labels['precision'])} of these labels are right (at least {low}, one-sided 95 %), "
        f"against the hidden truth of {count(labels['precision_n'])} images."
    )
