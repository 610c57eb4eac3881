"""`understudy approve`: decide about a student that waits for a person."""

from typing import Annotated

import typer

from flows.terminal import git_user, leave


def approve(
    round_: Annotated[str, typer.Argument(metavar="ROUND", help="Whose student: r1, r2...")],
    why: Annotated[str, typer.Option(help="The reason, for the ledger.")],
    promote: Annotated[
        bool | None, typer.Option("--promote/--hold", help="It becomes champion, or the champion before stays.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Another curate.threshold for the labels it makes next.")
    ] = None,
    who: Annotated[str | None, typer.Option(help="Name for the ledger; else git's user.name.")] = None,
) -> None:
    """Decide about a student that waits (`approval: manual`); the next run goes on and trains nothing anew."""

    def action() -> None:
        from flows.approve import approve as decide
        from tasks.errors import UserError
        from tasks.params import load

        if promote is None:
            raise UserError("no_decision", f"what is to become of the student of {round_}?", "add --promote or --hold")
        word = "promote" if promote else "hold"
        print(*decide(load(), round_, word, threshold, who or git_user(), why), sep="\n")

    leave(action)
