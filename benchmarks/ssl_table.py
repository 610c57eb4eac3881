"""Markdown of what benchmarks/ssl.py has finished: mean ± std over seeds, differences seed by seed."""

import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks.ssl_rows import ABLATED, ABLATIONS, MAIN, ROUNDS, TECHNIQUES

Result = dict[str, Any]
Scores = dict[int, float]  # by seed
PUBLISHED = {  # test error in %, WRN-28-2, the lossless images, 2^20 steps of 64 + 448 images: TorchSSL/USB, 3 seeds
    "supervised only": ("55.96 ± 1.95", "15.51 ± 0.18"),
    "PseudoLabel": ("48.28 ± 2.10", "14.90 ± 0.20"),
    "FixMatch": ("4.97 ± 0.05", "4.29 ± 0.10"),
    "fully supervised": ("4.55", "4.58"),
}


def markdown(results: list[Result]) -> str:
    """One table for each data set, number of labels and pool; rows that have not run say so."""
    groups: dict[tuple[str, int, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result["data"], result["labels"], result["pool"]), []).append(result)
    order = sorted(groups, key=lambda key: (key[0] != "digits", key[2] != "even", key[2], key[1]))
    return "\n".join(line for key in order for line in _group(key, groups[key])) + "\n" + "\n".join(_published())


def scores(results: list[Result], row: str, key: str | None = None, what: str = "test") -> Scores:
    """Accuracy by seed, of the last net of a row or of the one called `key`."""
    rows = [result for result in results if result["row"] == row]
    nets = {r["seed"]: r if key is None else next((n for n in r["nets"] if n["key"] == key), None) for r in rows}
    return {seed: net[what] for seed, net in nets.items() if net}


def _group(where: tuple[str, int, str], results: list[Result]) -> Iterator[str]:
    data, labels, pool = where
    seeds = sorted({result["seed"] for result in results})
    size = results[0]["pool_images"]
    yield f"\n**{data}, {labels} labels, {pool} pool of {size:,} images** (seeds {' '.join(map(str, seeds))})\n"
    yield "| row | net | steps | images seen | CPU s | validation | test | against supervised only |"
    yield "|---|---|---|---|---|---|---|---|"
    against = scores(results, "supervised")
    for row, title in MAIN.items():
        keys = [f"r{n}" for n in range(1, ROUNDS + 1)] if row == "noisy_student" else [None]
        for key in keys:
            yield _line(results, row, key, f"{title} {key}" if key else title, against)
    extra = scores(results, "fixmatch_80")
    if extra:
        yield _line(results, "fixmatch_80", None, "FixMatch, threshold 0.8", against)
    yield from _variants(results, ABLATIONS, ABLATED, "what is left out")
    yield from _variants(results, TECHNIQUES, ROUNDS, "what is added")


def _variants(
    results: list[Result], rows: dict[str, tuple[str, dict[str, Any]]], rounds: int, head: str
) -> Iterator[str]:
    """Rows held against Noisy Student after as many rounds."""
    if not any(result["row"] in rows for result in results):
        return
    yield f"\n| {head} | net | steps | images seen | CPU s | validation | test | against Noisy Student r{rounds} |"
    yield "|---|---|---|---|---|---|---|---|"
    against = scores(results, "noisy_student", f"r{rounds}")
    if rounds == ABLATED:
        yield _line(results, "noisy_student", "r1", "one round", against)
    for row, (title, _) in rows.items():
        if any(result["row"] == row for result in results):
            yield _line(results, row, None, title, against)


def _line(results: list[Result], row: str, key: str | None, title: str, against: Scores) -> str:
    test, validation = scores(results, row, key), scores(results, row, key, "validation")
    if not test:
        return f"| {title} | | | | | | not measured | |"
    mine = [result for result in results if result["row"] == row]
    if "chosen" in mine[0]:
        title += f": `{mine[0]['chosen']}`"
    upto = [_upto(result["nets"], key) for result in mine]
    last = upto[0][-1]
    cpu = statistics.mean(sum(net["cpu_seconds"] for net in nets) for nets in upto)
    images = sum(net["images"] for net in upto[0])
    cells = [title, f"{last['net']} x{last['width']}", f"{last['steps']:,}", f"{images:,}", f"{cpu:.0f}"]
    cells += [spread(list(validation.values())), spread(list(test.values()))]
    paired = [100 * (test[seed] - against[seed]) for seed in test if seed in against]
    cells.append(spread(paired, "+.1f") if paired and row != "supervised" else "")
    return "| " + " | ".join(cells) + " |"


def _upto(nets: list[Result], key: str | None) -> list[Result]:
    """The nets of a row as far as the one called `key`."""
    names = [net["key"] for net in nets]
    return nets[: names.index(key) + 1] if key else nets


def spread(values: list[float], form: str = ".4f") -> str:
    """Mean ± standard deviation; of one value the value."""
    mean = format(statistics.mean(values), form)
    return f"{mean} ± {format(statistics.stdev(values), form.lstrip('+'))}" if len(values) > 1 else f"{mean} (one seed)"


def _published() -> Iterator[str]:
    budget = "WRN-28-2, 1,048,576 steps of 64 + 448 images"
    yield f"\n| published, lossless CIFAR-10, **test error in %**, {budget} | 250 labels | 4,000 labels |"
    yield "|---|---|---|"
    for name, (few, many) in PUBLISHED.items():
        yield f"| {name} | {few} | {many} |"
