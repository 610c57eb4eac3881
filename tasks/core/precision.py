"""Where a net learns and in which number format (mixed precision: Micikevicius et al., arXiv:1710.03740).

Weights, their average, the loss and the optimiser stay float32; convolutions and linear layers multiply in bfloat16,
whose range is float32's, so no loss scaling is needed (Kalamkar et al., arXiv:1905.12322).
"""

from typing import Literal

import torch

Precision = Literal["float32", "bfloat16", "auto"]
Device = Literal["cpu", "cuda", "auto"]


def device_of(wanted: Device) -> torch.device:
    """`auto` is the GPU where there is one. ValueError where `cuda` is wanted and there is none."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ValueError("train.device is cuda, and torch finds no GPU here; set it to auto or cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def mixed(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which a net's forward pass runs: bfloat16 where it is asked for, or with `auto` where it helps."""
    wanted = precision == "bfloat16" or (precision == "auto" and helps(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)


def helps(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; elsewhere it is emulated, and slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
