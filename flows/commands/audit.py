"""The command `understudy audit`."""

from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.terminal import git_user, leave, print_table

if TYPE_CHECKING:
    from tasks.params import Settings


def audit(
    n: Annotated[int | None, typer.Option("--n", min=1, help="Draws; params.yaml has the default.")] = None,
    round_: Annotated[str | None, typer.Option("--round", help="Whose labels; else the last round's.")] = None,
    sync: Annotated[bool, typer.Option("--sync", help="Bring the answers in FiftyOne into the ledger.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Only show the audit card.")] = False,
    app: Annotated[bool, typer.Option("--app/--no-app", help="Open the App, or only build the data set.")] = True,
    who: Annotated[str | None, typer.Option(help="The reviewer; else git's user.name.")] = None,
) -> None:
    """How many accepted labels are right: name a blind sample of them in FiftyOne, then see the audit card.

    Without an option: the card once there are answers about the label table of now, else the sample.
    """

    def action() -> None:
        from flows.audit import answered
        from tasks.params import load

        settings = load()
        at = round_ or list(settings.rounds)[-1]
        if show or (n is None and not sync and answered(settings, at)):
            _card(settings, at)
            return
        from tasks.review import audit as session

        if sync:
            print(session.sync(at, who or git_user()))
            _card(settings, at)
            return
        shown = session.build(at, n or settings.audit.n, who or git_user(), settings)
        print(shown)
        if app:
            session.open_app(shown.name, settings.review.port)

    leave(action)


def _card(settings: "Settings", round_: str) -> None:
    from flows import audit as cards

    card = cards.show(settings, round_)
    print(*cards.lines(card), sep="\n")
    if rows := cards.class_rows(card):
        print_table("by class", rows)
