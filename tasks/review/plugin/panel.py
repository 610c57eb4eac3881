"""The panel beside the pictures: a button for each class and act, how far the review is, what a picture came from."""

import os
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from tasks.review import clicks, lineage, workspaces
from tasks.review.plugin import acts

ROOM = 40  # letters of a row of buttons
EDGE = 4  # a button's edges, in letters
IN_A_ROW = 5  # at most
BUTTONS = 40  # more classes are a list that unfolds
BROKEN = {"container": {"sx": {"overflowWrap": "anywhere", "& code": {"whiteSpace": "pre-wrap"}}}}  # long ids, paths


class ReviewPanel(foo.Panel):  # type: ignore[misc]
    """FiftyOne calls `render` after each of the other methods."""

    @property
    def config(self) -> Any:
        """Beside the grid, and in an open picture."""
        return foo.PanelConfig(
            name=workspaces.PANEL, label="Review", icon="fact_check", surfaces="grid modal", allow_multiple=False
        )

    def on_load(self, ctx: Any) -> None:
        """Shown first."""

    def on_change_selected(self, ctx: Any) -> None:
        """The lineage shown is that of the one selected picture."""

    def on_change_current_sample(self, ctx: Any) -> None:
        """The lineage shown is that of the open picture."""

    def on_change_view(self, ctx: Any) -> None:
        """Another view counts anew."""

    def on_class(self, ctx: Any) -> None:
        """A class was clicked or chosen."""
        name = ctx.params.get("name") or ctx.params.get("value")
        if name:
            acts.say(ctx, "class", name)

    def on_act(self, ctx: Any) -> None:
        """Another button was clicked."""
        next(act for act in acts.ACTS if act.name == ctx.params["act"]).do(ctx)

    def render(self, ctx: Any) -> Any:
        """The panel as it is now."""
        panel = types.Object()
        if not acts.is_review(ctx):
            panel.md("This data set is none that `understudy review` made.", name="foreign")
            return types.Property(panel)
        panel.md(_progress(ctx.dataset), name="progress")
        self._classes(panel, ctx.dataset.info["classes"])
        buttons = [(act.name, _with_key(act.label, act.key), {"act": act.name}) for act in acts.ACTS]
        _buttons(panel, buttons, self.on_act, "outlined")
        panel.md(_lineage(ctx), name="lineage", componentsProps=BROKEN)
        return types.Property(panel, view=column())

    def _classes(self, panel: Any, classes: list[str]) -> None:
        if len(classes) > BUTTONS:
            menu = types.AutocompleteView(label="class of the selection")
            for name in classes:
                menu.add_choice(name, label=name)
            panel.enum("class", classes, view=menu, on_change=self.on_class)
            return
        key = {name: digit for digit, name in acts.keys(classes).items() if digit != name}
        named = [(name, _with_key(name, key.get(name, ""))) for name in classes]
        buttons = [(f"class_{place}", words, {"name": name}) for place, (name, words) in enumerate(named)]
        _buttons(panel, buttons, self.on_class, "contained")


def column() -> Any:
    """What stands below each other, at most as wide as the panel, with a margin around."""
    narrow = {"grid": {"sx": {"gridTemplateColumns": "minmax(0, 1fr)"}}}  # or a long word makes it wider
    return types.GridView(orientation="vertical", gap=2, pad=2, componentsProps=narrow)


def _with_key(words: str, key: str) -> str:
    return f"{words} ({key})" if key else words


def _buttons(panel: Any, buttons: list[tuple[str, str, dict[str, str]]], on_click: Any, variant: str) -> None:
    """Rows of buttons, as many as there is room for: name, words, parameters."""
    used, number = ROOM, IN_A_ROW
    for name, words, params in buttons:
        if used + len(words) + EDGE > ROOM or number == IN_A_ROW:
            row, used, number = panel.grid(f"{name}_row", orientation="horizontal", gap=1), 0, 0
        row.btn(name, words, on_click=on_click, params=params, variant=variant)
        used, number = used + len(words) + EDGE, number + 1


def _progress(data: Any) -> str:
    """How far, how many errors, how precise, and as whom."""
    now = clicks.standing(data)
    lines = [f"**{now.done} of {now.of} done**, {now.errors} error{'s' * (now.errors != 1)} found"]
    if now.precision is None:
        lines.append("precision: nothing judged yet" + (" of the random slice" if now.random else ""))
    else:
        share, low, high = now.precision
        of = f"{now.right} of {now.judged} right"
        lines.append(f"precision {share:.3f} (95 %: {low:.3f} to {high:.3f}; {of})")
        note = "of the random slice of the queue" if now.random else "of what was looked at: **no random sample**"
        lines.append(note)
    who = os.environ.get(clicks.WHO) or "nobody: start with --who NAME"
    lines.append(f"{now.waiting} not in the ledger yet; every click is on disk, as {who}")
    return "  \n".join(lines)


def _lineage(ctx: Any) -> str:
    """Where the open or the only selected picture came from, and how its label came about."""
    meant = acts.selection(ctx)
    if len(meant) != 1:
        return f"{len(meant)} pictures selected" if meant else "select pictures, or open one: `1`-`9` set the class"
    sample = ctx.dataset[meant[0]]
    facts = {"shown": sample.shown, "decision": sample.decision, "reason": sample.reason}
    facts |= {"confidence": f"{sample.confidence:.3f}" if sample.confidence is not None else None}
    facts |= {name: sample.lineage[name] for name in lineage.NAMES if sample.has_field("lineage") and sample.lineage}
    facts |= {"image": sample.image_id}
    return "\n".join(f"- {name}: {_plain(value)}" for name, value in facts.items() if value not in (None, ""))


def _plain(value: Any) -> str:
    """Paths and names come from outside: nothing in them is Markdown."""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return "`" + text.replace("`", "'").replace("\n", " ") + "`"
