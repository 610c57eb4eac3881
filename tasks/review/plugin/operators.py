"""The plugin's operators: for the keys (keys.js), for the list of operations, and for scripts.

Each returns whether anything was said, so that a key goes on to the next picture only then.
"""

from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from tasks.review.plugin import acts


def _config(name: str, label: str, icon: str) -> Any:
    """An operator that shows no form of its own and works on the samples that are meant."""
    return foo.OperatorConfig(name=name, label=f"understudy: {label}", icon=icon, view_target=False)


def _operator(act: acts.Act) -> type:
    """The operator of an act."""

    class Operator(foo.Operator):  # type: ignore[misc]
        __doc__ = act.do.__doc__

        @property
        def config(self) -> Any:
            """What FiftyOne lists."""
            return _config(act.name, act.label, act.icon)

        def execute(self, ctx: Any) -> dict[str, bool]:
            """Do it."""
            return {"said": act.do(ctx)}

    return Operator


class SetClass(foo.Operator):  # type: ignore[misc]
    """`label`: a class, or `key`: the digit that stands for it."""

    @property
    def config(self) -> Any:
        """What FiftyOne lists."""
        return _config("set_class", "set the class of the selection", "label")

    def resolve_input(self, ctx: Any) -> Any:
        """A form with the classes, unless a key said which one."""
        inputs = types.Object()
        if "key" not in ctx.params:
            menu = types.AutocompleteView()  # of a string: a wrong class is for us to refuse, with the nearest one
            for name in ctx.dataset.info.get("classes", []):
                menu.add_choice(name, label=name)
            inputs.str("label", label="Class", required=True, view=menu)
        return types.Property(inputs)

    def execute(self, ctx: Any) -> dict[str, bool]:
        """Do it."""
        if "key" in ctx.params:
            return {"said": acts.say_key(ctx, ctx.params["key"])}
        return {"said": acts.say(ctx, "class", ctx.params["label"])}


OPERATORS = (SetClass, *(_operator(act) for act in acts.ACTS))
