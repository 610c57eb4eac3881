"""What the plugin's operators, the buttons of its panel and its keys do: the context of FiftyOne in, words out."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.errors import UserError
from tasks.review import clicks

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


def keys(classes: Sequence[str]) -> dict[str, str]:
    """Key → class: a digit is its own key; of 1 to 9 and 0 the ones left are for the other classes in order."""
    own = [name for name in classes if len(name) == 1 and name in DIGITS]
    left = [digit for digit in DIGITS if digit not in own]
    others = [name for name in classes if name not in own]
    return dict(zip(own, own, strict=True)) | dict(zip(left, others, strict=False))


def say(ctx: Any, action: str, name: str = "") -> bool:
    """Say something of the samples that are meant; whether it was taken."""

    def act() -> str:
        made = clicks.decide(ctx.dataset, selection(ctx), action, name)
        return f"{_pictures(len(made))}: {f'class {name}' if name else action}"

    return _done(ctx, act)


def say_key(ctx: Any, key: str) -> bool:
    """Say the class of a digit."""
    classes = ctx.dataset.info.get("classes", [])
    name = keys(classes).get(key)
    if name is not None:
        return say(ctx, "class", name)
    ctx.ops.notify(f"{key} is no class: there are {len(classes)}", variant="warning")
    return False


def accept(ctx: Any) -> bool:
    """The labels shown are right."""
    return say(ctx, "accept")


def reject(ctx: Any) -> bool:
    """Never learn from these images."""
    return say(ctx, "reject")


def back_to_teacher(ctx: Any) -> bool:
    """Nothing that was said of these images holds any more."""
    return say(ctx, "undo")


def take_back(ctx: Any) -> bool:
    """Revert the last click or key, with its whole selection; whether there was one.

    Those of its pictures that are seen are selected again: the right key may follow at once.
    """
    back: list[str] = []

    def act() -> str:
        back.extend(clicks.take_back(ctx.dataset))
        return f"taken back: {_pictures(len(back))}"

    done = _done(ctx, act)
    if done and not ctx.params.get("sample"):
        ctx.ops.set_selected_samples(ctx.view.select(back).values("id"))
    return done


def accept_rest(ctx: Any) -> bool:
    """Accept all pictures of the view of which nobody has said anything."""

    def act() -> str:
        rest = clicks.undecided(ctx.view)
        if len(rest) > clicks.MOST_AT_ONCE:
            what = f"{len(rest)} pictures are undecided in this view"
            raise UserError("too_many", what, f"show a batch first: at most {clicks.MOST_AT_ONCE} are accepted unseen")
        if not rest:
            raise UserError("nothing_left", "nothing is undecided in this view", "show the next batch")
        return f"{_pictures(len(clicks.decide(ctx.dataset, rest, 'accept')))}: accept"

    return _done(ctx, act)


def next_batch(ctx: Any) -> bool:
    """Show the next undecided pictures of the queue; whether there are any."""
    found = clicks.next_batch(ctx.dataset)
    ctx.ops.clear_selected_samples()
    if found:
        ctx.ops.set_view(ctx.dataset.select(found, ordered=True))
    else:
        ctx.ops.notify("nothing is left: every picture of this queue is decided", variant="success")
    return bool(found)


def save(ctx: Any) -> bool:
    """Bring everything said in this data set into the ledger, as `understudy review --sync` does."""

    def act() -> str:
        from tasks.review import session

        done = session.sync(ctx.dataset.info["round"], os.environ.get(clicks.WHO, ""))
        ctx.dataset.reload()
        return str(done)

    return _done(ctx, act)


@dataclass(frozen=True, slots=True)
class Act:
    """An operator, which is a button and may be a key (keys.js)."""

    name: str
    label: str
    key: str
    icon: str
    do: Callable[[Any], bool]


ACTS = (
    Act("accept", "accept", "a", "check", accept),
    Act("reject", "reject", "x", "block", reject),
    Act("take_back", "undo", "u", "undo", take_back),
    Act("undo", "back to teacher", "", "restore", back_to_teacher),
    Act("accept_rest", "accept the rest", "", "done_all", accept_rest),
    Act("next_batch", "next batch", "n", "skip_next", next_batch),
    Act("save", "save to ledger", "", "save", save),
)


def _pictures(number: int) -> str:
    return f"{number} picture{'s' * (number != 1)}"


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
