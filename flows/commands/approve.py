"""`understudy approve`: decide about a student that waits for a person."""

from typing import Annotated

import typer

from flows.commands.terminal import git_user, leave


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
        for name in _resumed():
            print(f"the run {name} goes on with it")

    leave(action)


def _resumed() -> list[str]:
    """The suspended runs that waited for this word; none where no server answers or lets us in."""
    from pathlib import Path

    from flows.serving import resume, server
    from tasks.errors import UserError

    try:
        api = server.find(server.prepare(Path.cwd()))
    except UserError as error:  # the row is written all the same
        print(f"no run was resumed: {error}")
        return []
    return resume.resume_decided(api) if api else []
