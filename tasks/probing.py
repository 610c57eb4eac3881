"""Two nets on images made worse on purpose: corrupted, shifted a little, attacked. For the stage `robustness`.

Every image's outcomes are columns of one table, `NET:KIND:NAME:LEVEL`; all summaries are made from that table. Both
nets see the same corrupted images; attacks are made against each net by itself. Letters: N images, K columns.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from tasks import files
from tasks.core.attacks import fgsm, pgd
from tasks.core.compare import compare
from tasks.core.corruptions import corrupt
from tasks.core.draws import draw
from tasks.core.predict import predict
from tasks.core.severities import CORRUPTIONS, SEVERITIES
from tasks.core.shifts import NOISE, SHIFTS, frames
from tasks.core.steadiness import flips, relative_mean
from tasks.images.store import Images
from tasks.models import load_model
from tasks.params import Settings
from tasks.params_trust import Robustness
from tasks.progress import Progress
from tasks.stage import Stage

ROLES = ("teacher", "student")
CHUNK_VALUES = 4 * 2**20  # pixel values of the images worked on at once: ten times as many bytes are in memory
DIGITS = 6
Nets = dict[str, nn.Module]
Columns = dict[str, np.ndarray]
Found = tuple[dict[str, Any], dict[str, list[tuple[Any, ...]]], pa.Table]


def probe(stage: Stage, round_: str) -> Found | None:
    """Summary, rows of the plots and outcomes image by image; None without test images."""
    images = Images(stage.inputs(files.IMAGES), stage.settings.cache)
    truth = _truth(stage)
    folders = {"teacher": files.champion(stage.settings.rounds[round_].teacher), "student": files.model(round_)}
    loaded = {role: load_model(stage.input(folder, only=files.NET)) for role, folder in folders.items()}
    if not truth:
        return None
    classes: list[str] = loaded["student"][1]["classes"]
    label_of = {image_id: classes.index(name) for image_id, name in truth.items()}
    table = _outcomes(stage, images, {role: net for role, (net, _) in loaded.items()}, label_of)
    summary, plots = summarised(table, stage.settings.robustness)
    return {role: card["key"] for role, (_, card) in loaded.items()} | summary, plots, table


def _truth(stage: Stage) -> dict[str, str]:
    """A sample of the sealed test, the same in every round: the images whose hash with the seed comes first."""
    settings = stage.settings
    table = files.read_table(stage.input(files.SEALED) / "test.parquet", ["image_id", "label"]).to_pydict()
    pairs = dict(zip(table["image_id"], table["label"], strict=True))
    chosen = sorted(pairs, key=lambda image_id: files.digest([settings.seed, "robustness", image_id]))
    return {image_id: pairs[image_id] for image_id in sorted(chosen[: settings.robustness.images])}


def _outcomes(stage: Stage, images: Images, nets: Nets, label_of: dict[str, int]) -> pa.Table:
    """One row an image. Chunks are kept where a killed run finds them again."""
    settings, folder = stage.settings, stage.resume()
    parts = {path: files.read_table(path) for path in sorted(folder.glob("chunk-*.parquet"))}
    done = {image_id for part in parts.values() for image_id in part["image_id"].to_pylist()}
    if done:
        print(f"{stage.name}: {len(done)} of {len(label_of)} images were tested before the interruption", flush=True)
    tests = _tests(settings.robustness)
    values = settings.image.channels * settings.image.size**2
    size = max(1, min(settings.label.chunk, CHUNK_VALUES // values))
    todo = sorted(label_of.keys() - done)
    with Progress(len(label_of) * tests, stage.name, "images tested", len(done) * tests) as progress:
        for ids, image_NCHW in images.batches(todo, settings.image, size) if todo else ():
            label_N = torch.tensor([label_of[image_id] for image_id in ids])
            columns: Columns = {}
            for made in tested(settings, nets, ids, image_NCHW, label_N):
                columns |= made
                progress.advance(len(ids) * len(made) // len(ROLES))
            path = folder / f"chunk-{files.digest(ids)[:16]}.parquet"
            parts[path] = pa.table({"image_id": pa.array(ids), **{name: pa.array(of) for name, of in columns.items()}})
            files.write_table(parts[path], path.with_suffix(".tmp"))
            path.with_suffix(".tmp").replace(path)
    return pa.concat_tables(parts.values()).sort_by("image_id")


def _tests(chosen: Robustness) -> int:
    """Columns of a net: clean, corruptions, shifts, attacks."""
    attacks = len(chosen.eps) * (1 + bool(chosen.pgd_steps))
    return 1 + len(_corruptions(chosen)) * len(SEVERITIES) + bool(chosen.frames) * len(SHIFTS) + attacks


def _corruptions(chosen: Robustness) -> tuple[str, ...]:
    return CORRUPTIONS if chosen.corruptions == "all" else tuple(chosen.corruptions)


def tested(settings: Settings, nets: Nets, ids: list[str], image_NCHW: Tensor, label_N: Tensor) -> Iterator[Columns]:
    """The columns of one chunk, test by test."""
    chosen, batch = settings.robustness, settings.label.batch
    pixel_NCHW, truth_N = image_NCHW.numpy(), label_N.numpy()

    def seeds(*purpose: str | int) -> list[int]:
        """Another one for each image and purpose, the same in every round."""
        return [int(files.digest([settings.seed, *purpose, image_id])[:15], 16) for image_id in ids]

    def said(image: np.ndarray, net: nn.Module) -> np.ndarray:
        return predict(net, torch.from_numpy(image), batch).argmax(dim=1).numpy()

    yield {f"{role}:clean": said(pixel_NCHW, net) != truth_N for role, net in nets.items()}
    for name in _corruptions(chosen):
        for severity in SEVERITIES:
            worse = corrupt(pixel_NCHW, name, severity, seeds(name, severity))
            yield {f"{role}:corrupted:{name}:{severity}": said(worse, net) != truth_N for role, net in nets.items()}
    for name in SHIFTS if chosen.frames else ():
        shown = frames(pixel_NCHW, name, chosen.frames, seeds("shift", name))
        said_FRN = np.stack([[said(frame, net) for net in nets.values()] for frame in shown])
        yield {f"{r}:shifted:{name}": flips(said_FRN[:, i], name == NOISE) for i, r in enumerate(nets)}
    start = torch.from_numpy(draw(seeds("pgd"), lambda rng: rng.uniform(-1, 1, pixel_NCHW.shape[1:])))
    for eps in chosen.eps:
        yield {f"{r}:fgsm:{eps:g}": _fooled(net, image_NCHW, label_N, eps, batch) for r, net in nets.items()}
        if chosen.pgd_steps:
            more = chosen.pgd_steps, start
            yield {f"{r}:pgd:{eps:g}": _fooled(net, image_NCHW, label_N, eps, batch, more) for r, net in nets.items()}


def _fooled(
    net: nn.Module,
    image_NCHW: Tensor,
    label_N: Tensor,
    eps: float,
    batch: int,
    pgd_by: tuple[int, Tensor] | None = None,
) -> np.ndarray:
    """Whether the net is wrong about each image once it was attacked: one step, or several from a start."""
    device = next(net.parameters()).device
    steps, start_NCHW = pgd_by or (0, image_NCHW)
    wrong = []
    for part in torch.split(torch.arange(len(image_NCHW)), batch):
        image, label, start = (x[part].to(device) for x in (image_NCHW, label_N, start_NCHW))
        attacked = pgd(net, image, label, eps, steps, start) if steps else fgsm(net, image, label, eps)
        wrong.append(predict(net, attacked, batch).argmax(dim=1) != label_N[part])
    return torch.cat(wrong).numpy()


def summarised(table: pa.Table, chosen: Robustness) -> tuple[dict[str, Any], dict[str, list[tuple[Any, ...]]]]:
    """What the table of outcomes says: robustness.json and the rows of the plots."""
    of = {name: table[name].to_numpy().astype(np.float64) for name in table.column_names if name != "image_id"}
    names, shifts = _corruptions(chosen), SHIFTS if chosen.frames else ()
    clean = {role: 1 - of[f"{role}:clean"].mean() for role in ROLES}
    error = (
        {r: np.stack([[of[f"{r}:corrupted:{n}:{s}"] for s in SEVERITIES] for n in names]) for r in ROLES}
        if names
        else {}
    )
    mce = _relative({role: error_KSN.sum(axis=1).T for role, error_KSN in error.items()}, names, len(SEVERITIES))
    mfr = _relative(
        {r: np.stack([of[f"{r}:shifted:{n}"] for n in shifts], axis=1) for r in ROLES} if shifts else {}, shifts, 1
    )
    kinds = ("fgsm", "pgd") if chosen.pgd_steps else ("fgsm",)
    attacks = {kind: [_attacked(of, kind, eps) for eps in chosen.eps] for kind in kinds}
    summary: dict[str, Any] = {
        "images": table.num_rows,
        "clean": {role: round(share, DIGITS) for role, share in clean.items()},
        "mce": mce,
        "mfr": mfr,
        "fgsm": attacks["fgsm"],
        "pgd": attacks.get("pgd", []),
        "frames": chosen.frames,
        "pgd_steps": chosen.pgd_steps,
    }
    by_severity = [(0, *(round(clean[r], DIGITS) for r in ROLES))]
    by_severity += [(s, *(round(1 - error[r][:, s - 1].mean(), DIGITS) for r in ROLES)) for s in SEVERITIES if names]
    strongest = attacks[kinds[-1]]
    by_eps = [(0, *(summary["clean"][r] for r in ROLES))] + [(a["eps"], *(a[r] for r in ROLES)) for a in strongest]
    return summary, {"severity": by_severity, "attacks": by_eps if strongest else []}


def _relative(of: dict[str, np.ndarray], names: tuple[str, ...], per: int) -> dict[str, Any] | None:
    """mCE or mFR of the student against the teacher, and the shares behind it; null if nothing was tested."""
    if not names:
        return None
    found = relative_mean(of["student"], of["teacher"])
    rounded = {n: None if found[n] is None else round(found[n], 3) for n in ("value", "low", "high")}
    share = {role: (columns / per).mean(axis=0) for role, columns in of.items()}
    each = {
        name: {role: round(float(share[role][k]), DIGITS) for role in ROLES}
        | {"ratio": None if found["each"][k] is None else round(found["each"][k], DIGITS)}
        for k, name in enumerate(names)
    }
    mean = {role: round(float(share[role].mean()), DIGITS) for role in ROLES}
    return rounded | mean | {"left_out": found["left_out"], "each": each}


def _attacked(of: Columns, kind: str, eps: float) -> dict[str, Any]:
    right = {role: of[f"{role}:{kind}:{eps:g}"] == 0 for role in ROLES}
    shares = {role: round(float(right[role].mean()), DIGITS) for role in ROLES}
    return {"eps": eps, **shares, "gain": compare(right["student"], right["teacher"]).as_dict()}
