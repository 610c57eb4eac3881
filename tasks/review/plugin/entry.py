"""Where FiftyOne looks first: it runs this file under a name of its own and calls `register`."""

from typing import Any

from tasks.review.plugin.operators import OPERATORS
from tasks.review.plugin.panel import ReviewPanel


def register(plugin: Any) -> None:
    """Tell FiftyOne of the operators and the panel."""
    for kind in (*OPERATORS, ReviewPanel):
        plugin.register(kind)
