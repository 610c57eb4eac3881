"""The learning rate as a function of the step."""

import math


def learning_rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """Rate of step 0 <= step < steps: a line up to `peak` over `warmup` steps, then half a cosine down towards 0."""
    if step < warmup:
        return peak * ((step + 1) / warmup)
    done = (step - warmup) / max(steps - warmup, 1)
    return peak * (1 + math.cos(math.pi * done)) / 2
