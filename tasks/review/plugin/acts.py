"""What the plugin's operators and the buttons of its panel do, in one place: the context of FiftyOne in, words out."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from tasks.errors import UserError
from tasks.review import clicks

PANEL = "understudy_review"
DIGITS = "1234567890"


def is_review(ctx: Any) -> bool:
    """Whether the open data set is a review, and not a blind audit, or none of ours."""
    return ctx.dataset is not None and "round" in (ctx.dataset.info or {})


def selection(ctx: Any) -> list[str]:
    """The samples that are meant: the open picture, else the selected ones; never those selected beneath it.

    A key says which picture was open when it was pressed: the next one may be by now.
    """
    opened = ctx.params.get("sample") or ctx.current_sample
    return [opened] if opened else list(ctx.selected)


def say(ctx: Any, action: str, name: str = "") -> bool:
    """Say something of the samples that are meant; whether it was taken."""

    def act() -> str:
        made = clicks.decide(ctx.dataset, selection(ctx), action, name)
        return f"{len(made)} {'pictures' if len(made) != 1 else 'picture'}: {name or action}"

    return _done(ctx, act)


def keys(classes: Sequence[str]) -> dict[str, str]:
    """The digit of each of the first ten classes: 1 to 9 and 0 in their order, or their own where all are digits."""
    if set(classes) <= set(DIGITS):
        return {name: name for name in classes}
    return dict(zip(DIGITS, classes, strict=False))


def say_key(ctx: Any, key: str) -> bool:
    """Say the class of a digit."""
    classes = ctx.dataset.info.get("classes", [])
    name = keys(classes).get(key)
    if name is not None:
        return say(ctx, "class", name)
    ctx.ops.notify(f"{key} is no class: there are {len(classes)}", variant="warning")
    return False


def accept_rest(ctx: Any) -> None:
    """Accept all pictures of the view of which nobody has said anything."""

    def act() -> str:
        rest = clicks.undecided(ctx.view)
        if len(rest) > clicks.MOST_AT_ONCE:
            what = f"{len(rest)} pictures are undecided in this view"
            raise UserError("too_many", what, f"show a batch first: at most {clicks.MOST_AT_ONCE} are accepted unseen")
        return f"{len(clicks.decide(ctx.dataset, rest, 'accept'))} pictures: accept"

    _done(ctx, act)


def take_back(ctx: Any) -> bool:
    """Revert the last operation; whether there was one."""
    return _done(ctx, lambda: f"taken back on {clicks.take_back(ctx.dataset)} pictures")


def next_batch(ctx: Any) -> None:
    """Show the next undecided pictures of the queue."""
    found = clicks.next_batch(ctx.dataset)
    ctx.ops.clear_selected_samples()
    if found:
        ctx.ops.set_view(ctx.dataset.select(found, ordered=True))
    else:
        ctx.ops.notify("nothing is left: every picture of this queue is decided", variant="success")


def save(ctx: Any) -> None:
    """Bring everything said in this data set into the ledger."""

    def act() -> str:
        from tasks.review import session

        done = session.sync(ctx.dataset.info["round"], os.environ.get(clicks.WHO, ""))
        ctx.dataset.reload()
        return str(done)

    _done(ctx, act)


def _done(ctx: Any, act: Callable[[], str]) -> bool:
    """Do it and show it, and whether it was done; a user's error is a notice that says how to mend it."""
    try:
        words = act()
    except UserError as error:
        ctx.ops.notify(f"{error.what}. {error.fix}", variant="error")
        return False
    ctx.ops.notify(words, variant="success")
    if not ctx.params.get("sample"):  # else keys.js does it once, when the picture is closed: it costs a second
        ctx.ops.clear_selected_samples()
        ctx.ops.reload_samples()
    return True
