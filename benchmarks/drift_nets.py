"""The nets and images of benchmarks/drift.py: each net is trained once, and what it says of images is kept.

    python benchmarks/drift_nets.py digits 0 [--folder .work/benchmarks/drift]

`digits SEED`: a teacher of 50 digits as in params.yaml, and five nets that cross-fit it (each learns four fifths of the
labels and predicts the last). `cifar10 SEED`: a teacher of 4,000 CIFAR-10 images as in settings/cifar10.yaml. Written
per net: SEED.npz with the probabilities of the labeled images (cross-fitted, digits alone), of all other images of the
data set, and of each foreign set. A file that is there is not made again.
"""

import argparse
import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pyarrow.parquet as pq
import torch
from digits import digits, make_split  # a script beside this one
from digits import fit as fit_digits
from PIL import Image, ImageDraw, ImageFont, ImageOps
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn.functional import one_hot

from tasks import params
from tasks.core.augment import Noise
from tasks.core.predict import predict
from tasks.core.train import Examples, Recipe, train
from tasks.nets.catalog import build

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".work/benchmarks/drift"
CIFAR = ROOT.parent / "shared/datasets/cifar10-jpeg"
CLASSES, FOLDS, FOREIGN = 10, 5, 1000
FONTS = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "DejaVuSans-Bold", "DejaVuSerif-Italic")


def main() -> None:
    """One net's probabilities, where they are not there yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", choices=["digits", "cifar10"])
    parser.add_argument("seed", type=int)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--cifar", type=Path, default=CIFAR)
    args = parser.parse_args()
    said(args.data, args.seed, args.folder, args.cifar)


def said(data: str, seed: int, folder: Path = FOLDER, cifar: Path = CIFAR) -> dict[str, np.ndarray]:
    """What the net says of each set of images; `pool_label` and `held_label` are the truth."""
    path = folder / data / f"{seed}.npz"
    if not path.is_file():
        torch.set_num_threads(1)
        found = _digits(seed, cifar) if data == "digits" else _cifar(seed, cifar)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path.with_suffix(".tmp.npz"), **found)
        path.with_suffix(".tmp.npz").replace(path)
    return dict(np.load(path))


def digits_rows(seed: int) -> np.ndarray:
    """Which digits `pool_prob` of a digits net is about: all that it did not learn from."""
    split = make_split(seed, 50)
    rows: np.ndarray = torch.cat([split.pool, split.test]).numpy()
    return rows


def _digits(seed: int, cifar: Path) -> dict[str, Any]:
    cfg = params.load(ROOT / "params.yaml")
    image_NCHW, label_N = digits(cfg.image.size)
    split = make_split(seed, 50)

    def learnt(rows: Tensor, index: int) -> nn.Module:
        target_NC = one_hot(label_N[rows], CLASSES).float()
        examples = Examples(image_NCHW[rows], target_NC, torch.ones(len(rows), dtype=torch.int64))
        return fit_digits(cfg, cfg.teacher, examples, None, seed, index)

    teacher = learnt(split.labeled, 0)
    # labeled images stand class by class, so that every fifth row is one image of each class
    held = [(split.labeled[fold::FOLDS], fold) for fold in range(FOLDS)]
    held_prob = [
        _prob(learnt(split.labeled[~torch.isin(split.labeled, rows)], 10 + f), image_NCHW[rows]) for rows, f in held
    ]
    rest = torch.cat([split.pool, split.test])
    foreign = {
        "letters": _letters(16, 1),
        "inverted": 255 - image_NCHW[rest[:FOREIGN]],
        "noise": _noise(16, 1),
        "CIFAR-10 in grey": _resized(_cifar_images(cifar / "test.parquet", FOREIGN)[0], 16, 1),
        "turned by 90°": image_NCHW[rest[:FOREIGN]].rot90(1, (2, 3)),
    }
    return {
        "held_prob": np.concatenate(held_prob),
        "held_label": label_N[torch.cat([rows for rows, _ in held])].numpy(),
        "pool_prob": _prob(teacher, image_NCHW[rest]),
        "pool_label": label_N[rest].numpy(),
        **{f"foreign {name}": _prob(teacher, images) for name, images in foreign.items()},
    }


def _cifar(seed: int, cifar: Path) -> dict[str, Any]:
    cfg = params.load(ROOT / "settings/cifar10.yaml")
    image_NCHW, label_N = _cifar_images(cifar / "train.parquet", 50_000)
    order = torch.randperm(len(label_N), generator=torch.Generator().manual_seed(seed))
    labeled = torch.cat([order[label_N[order] == c][: cfg.split.labels // CLASSES] for c in range(CLASSES)])
    rest = order[~torch.isin(order, labeled)][:26_000]
    torch.manual_seed(seed)
    net = build(
        cfg.teacher.net, channels=3, classes=CLASSES, width=cfg.teacher.width, dropout=0.0, stochastic_depth=0.0
    )
    recipe = Recipe(steps=cfg.teacher.steps, ratio=0, **cfg.train.recipe())
    target_NC = one_hot(label_N[labeled], CLASSES).float()
    examples = Examples(image_NCHW[labeled], target_NC, torch.ones(len(labeled), dtype=torch.int64))
    teacher = train(net, examples, None, recipe, Noise(**cfg.teacher.noise.model_dump()), seed)
    foreign = {
        "letters": _letters(32, 3),
        "inverted": 255 - image_NCHW[rest[:FOREIGN]],
        "noise": _noise(32, 3),
        "digits": _resized(digits(8)[0][:FOREIGN], 32, 3),
        "grey textures": _textures(32),
    }
    return {
        "pool_prob": _prob(teacher, image_NCHW[rest]),
        "pool_label": label_N[rest].numpy(),
        **{f"foreign {name}": _prob(teacher, images) for name, images in foreign.items()},
    }


def _prob(net: nn.Module, image_NCHW: Tensor) -> np.ndarray:
    prob_NC: np.ndarray = predict(net, image_NCHW.contiguous(), 500).numpy()
    return prob_NC


def _cifar_images(path: Path, count: int) -> tuple[Tensor, Tensor]:
    """The first images of a table, uint8 (N, 3, 32, 32), and their labels."""
    table = pq.read_table(path).slice(0, count)
    pixels = [np.asarray(Image.open(io.BytesIO(row["bytes"])).convert("RGB")) for row in table["image"].to_pylist()]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous(), torch.tensor(table["label"].to_pylist())


def _resized(image_NCHW: Tensor, size: int, channels: int) -> Tensor:
    def one(image_CHW: Tensor) -> Image.Image:
        array = image_CHW.permute(1, 2, 0).numpy()
        image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
        return image.convert("L" if channels == 1 else "RGB").resize((size, size), Image.Resampling.BILINEAR)

    return _stack([one(image) for image in image_NCHW], channels)


def _letters(size: int, channels: int) -> Tensor:
    """A to Z in five fonts, dark on light, each turned a little and moved a little."""
    rng, folder = np.random.default_rng(1), Path(matplotlib.get_data_path()) / "fonts/ttf"
    images = []
    for n in range(FOREIGN):
        image = Image.new("L", (64, 64), 0)
        font = ImageFont.truetype(folder / f"{FONTS[n % len(FONTS)]}.ttf", int(rng.integers(40, 58)))
        place = 32 + rng.integers(-4, 5, 2)
        ImageDraw.Draw(image).text(tuple(place), chr(65 + n % 26), 255, font=font, anchor="mm")
        image = image.rotate(float(rng.uniform(-15, 15)), Image.Resampling.BILINEAR)
        images.append(ImageOps.invert(image).resize((size, size), Image.Resampling.BOX))
    return _stack([image.convert("L" if channels == 1 else "RGB") for image in images], channels)


def _noise(size: int, channels: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(2).integers(0, 256, (FOREIGN, channels, size, size), dtype=np.uint8))


def _textures(size: int) -> Tensor:
    """Grey clouds of random grain and contrast."""
    rng, images = np.random.default_rng(3), []
    for _ in range(FOREIGN):
        cloud = gaussian_filter(rng.normal(size=(size, size)), float(rng.uniform(0.7, 4)), mode="wrap")
        cloud = 128 + cloud / cloud.std() * rng.uniform(15, 60)
        images.append(np.repeat(np.clip(cloud, 0, 255).astype(np.uint8)[None], 3, axis=0))
    return torch.from_numpy(np.stack(images))


def _stack(images: list[Image.Image], channels: int) -> Tensor:
    array = np.stack([np.asarray(image) for image in images])
    return torch.from_numpy(array[:, None] if channels == 1 else array.transpose(0, 3, 1, 2).copy())


if __name__ == "__main__":
    main()
