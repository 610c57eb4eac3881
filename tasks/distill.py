"""Stage `distill@NAME`: a small net that learns what the champion believes, for deployment.

Beside it the same net learns from the labeled images alone, with the same first weights and as many steps: what the
champion added. Judged on the images of split.gate; the sealed test stays sealed. speed.json is a measurement of this
machine: the one file here that differs from run to run, and the report alone reads it. Letters: N images, C classes.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tasks import deployed, files, params, starts
from tasks.core.compare import compare
from tasks.core.distillation import divergence, soften
from tasks.core.metrics import wilson
from tasks.core.predict import predict
from tasks.core.train import Examples
from tasks.errors import UserError
from tasks.fit import Labeled, Work, card_of, labeled_examples
from tasks.images.store import Images
from tasks.models import WEIGHTS, build_from, load_model, parameters, save_model
from tasks.stage import Stage

PARAMS = ("seed", "image", "train", "label", "distill.{key}")
NETS = ("champion", "distilled", "alone")


def distill(stage: Stage, name: str) -> None:
    """The champion, labeled images and the pool in, data/distilled/NAME out."""
    spec = stage.settings.distill[name]
    champion, its_card = load_model(stage.input(files.CHAMPION, only=files.NET))
    start = starts.read(stage, spec, its_card["classes"])
    card = card_of(spec, stage.settings.image, its_card["classes"]) | start.card
    _refuse_no_smaller(name, spec, card, its_card)
    images = Images(stage.inputs(files.IMAGES), stage.settings.cache)
    labeled = labeled_examples(stage)
    asked = _asked(stage, spec, images, labeled, champion)
    nets = {"champion": champion} | _train(stage, name, spec, start, card, labeled, asked)
    out, small, batch = stage.output(files.distilled(name)), nets["distilled"], stage.settings.label.batch
    save_model(out, small, card | {"key": name, "parameters": parameters(small)})
    onnx = out / "model.onnx"
    deployed.export(small, card, onnx)
    deployed.check(onnx, asked.image_NCHW, predict(small, asked.image_NCHW, batch), batch)
    sizes = {"champion": files.CHAMPION / WEIGHTS, "distilled": out / WEIGHTS, "onnx": onnx}
    found: dict[str, Any] = {
        "name": name,
        "temperature": spec.temperature,
        "labels": spec.labels,
        "asked": len(asked.image_NCHW),
        "champion": {k: its_card[k] for k in ("key", "net", "width", "parameters")},
        "distilled": {k: card[k] for k in ("net", "width", "steps")} | {"parameters": parameters(small)},
        "bytes": {role: path.stat().st_size for role, path in sizes.items()},
        "gate": _judge(stage, nets),
    }
    files.write_json(found, out / "distilled.json")
    stage.summary(**{key: found[key] for key in ("asked", "bytes", "gate")})
    speeds = _speeds(nets, onnx, asked.image_NCHW[:batch])
    files.write_json(speeds | {"threads": torch.get_num_threads()}, out / "speed.json")
    stage.counts(speed=speeds)
    print(f"{stage.name}: {_in_words(found)}", flush=True)


def _refuse_no_smaller(name: str, spec: params.Distilled, card: dict[str, Any], champion: dict[str, Any]) -> None:
    size = parameters(build_from(card))
    if size >= champion["parameters"]:
        what = f"distill.{name}: {spec.net} x{spec.width} has {size:,} parameters, the champion {champion['key']} "
        what += f"({champion['net']} x{champion['width']}) has {champion['parameters']:,}"
        raise UserError("not_smaller", what, f"lower distill.{name}.width or choose a smaller net")


def _asked(stage: Stage, spec: params.Distilled, images: Images, labeled: Labeled, champion: nn.Module) -> Examples:
    """The labeled images and `spec.images` of the pool, with the champion's softened probabilities."""
    pool = files.read_table(stage.input(files.SPLIT) / "pool.parquet", ["image_id", "status"])
    ids = np.array(pool.filter(np.array(pool["status"].to_pylist()) == "pool")["image_id"].to_pylist(), dtype=object)
    seed = int(files.digest([stage.settings.seed, stage.name, "asked"])[:8], 16)
    drawn = np.sort(np.random.default_rng(seed).permutation(len(ids))[: spec.images])
    image_NCHW = torch.cat([labeled.examples.image_NCHW, images.load(list(ids[drawn]), stage.settings.image)])
    soft_NC = soften(predict(champion, image_NCHW, stage.settings.label.batch), spec.temperature)
    return Examples(image_NCHW, soft_NC, torch.ones(len(image_NCHW), dtype=torch.int64))


def _train(
    stage: Stage,
    name: str,
    spec: params.Distilled,
    start: starts.Start,
    card: dict[str, Any],
    labeled: Labeled,
    asked: Examples,
) -> dict[str, nn.Module]:
    """The net that learns from the champion, and the same one without it."""
    match = partial(divergence, temperature=spec.temperature)
    learners = {
        "alone": (Work(stage, name, spec, card, None, start), labeled.examples),
        "distilled": (
            (Work(stage, name, spec, card, asked, start, of_pseudo=match), labeled.examples)
            if spec.labels
            else (Work(stage, name, spec, card, None, start, of_labeled=match), asked)
        ),
    }
    nets = {}
    for role, (work, examples) in learners.items():
        folder = stage.resume() / role
        folder.mkdir(exist_ok=True)
        nets[role], _ = work.train(f"{stage.name}, {role}", name, examples, folder)
    return nets


def _judge(stage: Stage, nets: dict[str, nn.Module]) -> dict[str, Any] | None:
    """Accuracy on the images of split.gate, and the distilled net against the other two; null without such images."""
    stage.input(files.GATE)
    truth = files.read_table(files.GATE / "gate.parquet", ["image_id", "label"]).to_pydict()
    if not truth["image_id"]:
        return None
    classes: list[str] = files.read_json(files.GATE / "classes.json")
    image_NCHW = Images(files.GATE).load(truth["image_id"], stage.settings.image)
    truth_N = np.array([classes.index(label) for label in truth["label"]])
    batch = stage.settings.label.batch
    said = {role: predict(net, image_NCHW, batch).argmax(dim=1).numpy() for role, net in nets.items()}
    hit = {role: said_N == truth_N for role, said_N in said.items()}
    found: dict[str, Any] = {"n": len(truth_N)}
    for role in NETS:
        low, high = wilson(int(hit[role].sum()), len(truth_N))
        found[role] = {"accuracy": round(float(hit[role].mean()), 6), "low": round(low, 6), "high": round(high, 6)}
    found["agreement"] = round(float((said["distilled"] == said["champion"]).mean()), 6)
    return found | {f"over_{role}": compare(hit["distilled"], hit[role]).as_dict() for role in ("champion", "alone")}


def _speeds(nets: dict[str, nn.Module], onnx: Path, image_NCHW: Tensor) -> dict[str, dict[str, float]]:
    """How fast champion and distilled net are in torch, and the distilled one in ONNX Runtime, on this machine."""

    def by(net: nn.Module) -> Any:
        return lambda image_BCHW: predict(net, image_BCHW, len(image_BCHW))

    torch_nets = {role: deployed.speed(by(nets[role]), image_NCHW) for role in ("champion", "distilled")}
    return torch_nets | {"onnx": deployed.speed(deployed.session(onnx), image_NCHW.numpy())}


def _in_words(found: dict[str, Any]) -> str:
    smaller = found["champion"]["parameters"] / found["distilled"]["parameters"]
    size = f"{found['distilled']['parameters']:,} parameters, {smaller:.1f} times fewer than {found['champion']['key']}"
    if not (gate := found["gate"]):
        return f"{size}; not compared, there are no images for it (split.gate)"
    shares = ", ".join(f"{role} {100 * gate[role]['accuracy']:.1f} %" for role in NETS)
    return f"{size}; right on {gate['n']} gate images: {shares}"
