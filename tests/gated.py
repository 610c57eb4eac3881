"""Nets before the gate: three that nobody trained, and the artefacts that the gate stage reads."""

from typing import Any

import numpy as np
import torch

from tasks import approvals, files, held, teacher, verdicts
from tasks import gate as module
from tasks.champions import crown
from tasks.core.predict import predict
from tasks.images.store import Images
from tasks.models import build_from, parameters, save_model
from tasks.stage import Stage
from tests import fabricated

CLASSES = ["ant", "bee", "cow"]


class Case:
    """80 images, 60 of them for the gate; r0 as champion and the students r1 and r2, which nobody trained."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.settings = fabricated.settings()
        self.ids = fabricated.images(80)
        self.nets: dict[str, Any] = {}
        for seed, key in enumerate(("r0", "r1", "r2")):
            torch.manual_seed(seed)
            card = {"net": "lenet5", "width": 1, "dropout": 0.0, "stochastic_depth": 0.0, "channels": 1, "size": 8}
            card |= {"classes": CLASSES, "key": key, "background": 255, "steps": 10}
            net = build_from(card).eval()
            with torch.no_grad():
                list(net.parameters())[-2].mul_(40)  # opinions
            staged = files.WORK / "net"
            staged.mkdir(parents=True)
            save_model(staged, net, card | {"parameters": parameters(net)})
            held.write(staged, held.table([], [], [], np.empty((0, 3), np.float32)), CLASSES, seed=0)
            files.seal(staged, {"stage": "made"})
            files.move_into_place(staged, files.model(key))
            self.nets[key] = net
        first = Stage("teacher", self.settings, [])
        crown(first, files.model("r0"), files.champion("r0"), teacher.FIRST)
        first.publish()
        self.words("")
        files.replace_file(files.APPROVALS, ",".join(approvals.HEADER) + "\n")

    def said(self, key: str) -> dict[str, str]:
        """What a net says of the gate's images."""
        gate = self.ids[20:]
        image_NCHW = Images(files.IMAGES).load(gate, self.settings.image)
        return {i: CLASSES[int(c)] for i, c in zip(gate, predict(self.nets[key], image_NCHW, 7).argmax(1), strict=True)}

    def words(self, rows: str) -> None:
        """Replace the ledger."""
        files.replace_file(files.CHAMPION_WORDS, ",".join(verdicts.HEADER) + "\n" + rows)

    def run(self, round_: str, gate: dict[str, str], learnt: str | None = None) -> dict[str, Any]:
        """Publish split, gate and labels, judge a round's student, and return the decision."""
        fabricated.split(CLASSES, train={self.ids[0]: "ant"}, pool=dict.fromkeys(self.ids[1:10], "pool"), test={})
        for target in (files.GATE, files.LABELED):
            table = fabricated.labeled(gate if target == files.GATE else {self.ids[0]: "ant"})
            ids = table["image_id"].to_pylist()
            shown = files.read_table(files.images("digits") / "part-00000.parquet").to_pylist()
            part = fabricated.pa.Table.from_pylist([row for row in shown if row["image_id"] in ids])
            fabricated.publish(target, classes=CLASSES, **{target.name: table, "part-00000": part})
        rows: dict[str, tuple[str | None, float, str]] = {learnt or self.ids[5]: ("ant", 0.9, "kept")}
        fabricated.label_table(round_, rows)
        fabricated.run(module.gate, module.PARAMS, self.settings, round_)
        found: dict[str, Any] = files.read_json(files.champion(round_) / "decision.json")
        return found
