"""The plugin's operators: for the keys (keys.js), for the list of operations, and for scripts."""

from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from tasks.review import views
from tasks.review.plugin import acts

URI = "@understudy/review"


class _Ours(foo.Operator):  # type: ignore[misc]
    """An operator that shows no form and works on the samples that are meant."""

    name_, label, icon = "", "", ""

    @property
    def config(self) -> Any:
        """What FiftyOne lists."""
        return foo.OperatorConfig(name=self.name_, label=f"understudy: {self.label}", icon=self.icon, view_target=False)


class Open(_Ours):
    """Show the panel beside the pictures whenever a review is opened."""

    name_ = "open"

    @property
    def config(self) -> Any:
        """Run by FiftyOne itself."""
        return foo.OperatorConfig(name=self.name_, unlisted=True, on_dataset_open=True, view_target=False)

    def execute(self, ctx: Any) -> None:
        """Do it."""
        if acts.is_review(ctx):
            panels = [fo.Panel(type="Samples", pinned=True), fo.Panel(type=acts.PANEL)]
            sides = [fo.Space(children=[panel], active_child=panel.component_id) for panel in panels]
            ctx.ops.set_spaces(fo.Space(children=sides, orientation="horizontal", sizes=[0.68, 0.32]))
            # The address names a view, and the App drops it when the panels come while it is still loading.
            queue = views.QUEUE if views.QUEUE in ctx.dataset.list_saved_views() else views.LEAST_CONFIDENT
            ctx.ops.set_view(name=ctx.request_params.get("view_name") or queue)


class SetClass(_Ours):
    """`label`: a class, or `key`: the digit that stands for it."""

    name_, label, icon = "set_class", "set the class of the selection", "label"

    def resolve_input(self, ctx: Any) -> Any:
        """A form with the classes, unless a key said which one."""
        inputs = types.Object()
        if "key" not in ctx.params:
            menu = (
                types.AutocompleteView()
            )  # of a string: a class that is none is for us to refuse, with the nearest one
            for name in ctx.dataset.info.get("classes", []):
                menu.add_choice(name, label=name)
            inputs.str("label", label="Class", required=True, view=menu)
        return types.Property(inputs)

    def execute(self, ctx: Any) -> dict[str, bool]:
        """Do it."""
        if "key" in ctx.params:
            return {"said": acts.say_key(ctx, ctx.params["key"])}
        return {"said": acts.say(ctx, "class", ctx.params["label"])}


class Accept(_Ours):
    """The labels shown are right."""

    name_, label, icon = "accept", "accept the labels of the selection", "check"

    def execute(self, ctx: Any) -> dict[str, bool]:
        """Do it."""
        return {"said": acts.say(ctx, "accept")}


class Reject(_Ours):
    """Never learn from these images."""

    name_, label, icon = "reject", "reject the selection", "block"

    def execute(self, ctx: Any) -> dict[str, bool]:
        """Do it."""
        return {"said": acts.say(ctx, "reject")}


class Undo(_Ours):
    """Back to what the teacher says."""

    name_, label, icon = "undo", "back to the teacher's labels", "restore"

    def execute(self, ctx: Any) -> dict[str, bool]:
        """Do it."""
        return {"said": acts.say(ctx, "undo")}


class TakeBack(_Ours):
    """Revert the last click or key, with its whole selection."""

    name_, label, icon = "take_back", "take back the last click", "undo"

    def execute(self, ctx: Any) -> dict[str, bool]:
        """Do it."""
        return {"said": acts.take_back(ctx)}


class AcceptRest(_Ours):
    """Accept what is undecided in the view."""

    name_, label, icon = "accept_rest", "accept the rest of this view", "done_all"

    def execute(self, ctx: Any) -> None:
        """Do it."""
        acts.accept_rest(ctx)


class NextBatch(_Ours):
    """Show the next undecided pictures."""

    name_, label, icon = "next_batch", "next batch", "skip_next"

    def execute(self, ctx: Any) -> None:
        """Do it."""
        acts.next_batch(ctx)


class Save(_Ours):
    """Bring what was said into the ledger, as `understudy review --sync` does."""

    name_, label, icon = "save", "save to the ledger", "save"

    def execute(self, ctx: Any) -> None:
        """Do it."""
        acts.save(ctx)


OPERATORS = (Open, SetClass, Accept, Reject, Undo, TakeBack, AcceptRest, NextBatch, Save)
