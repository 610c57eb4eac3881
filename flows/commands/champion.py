"""`understudy rollback`: back to an earlier champion."""

from typing import Annotated

import typer

from flows.commands.terminal import git_user, leave


def rollback(
    why: Annotated[str, typer.Option(help="The reason, for the ledger.")],
    round_: Annotated[
        str | None, typer.Argument(metavar="[ROUND]", help="r0, r1...; else the champion before the present one.")
    ] = None,
    who: Annotated[str | None, typer.Option(help="Name for the ledger; else git's user.name.")] = None,
) -> None:
    """Go back to an earlier champion: data/champion is that net again, and later students are held."""

    def action() -> None:
        from flows.rollback import rollback as go_back
        from tasks.params import load

        print(*go_back(load(), round_, who or git_user(), why), sep="\n")

    leave(action)
