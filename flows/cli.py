"""The command line. Every command calls the code of the stages and flows, and imports it only when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from flows.commands import champion as cli_champion
from flows.commands import lineage as cli_lineage
from flows.commands import serve as cli_serve
from flows.commands.approve import approve
from flows.commands.audit import audit
from flows.commands.relabel import relabel
from flows.commands.seeds import search_augment, seeds
from flows.commands.terminal import git_user as _git_user
from flows.commands.terminal import leave as _leave
from flows.commands.terminal import print_table as _print_table

app = typer.Typer(
    help="A few labeled images and a large unlabeled pool become a trusted label table and a better classifier.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def run(
    stage: Annotated[
        str | None, typer.Option(help="Only this stage, for example student@r1, and what it needs.")
    ] = None,
) -> None:
    """Bring everything up to date, as a Prefect flow over DVC's stages; then show the results."""

    def action() -> int:
        from flows.serving.launch import launch

        code = launch(stage)
        if code == 0:
            _show()
        return code

    _leave(action)


@app.command()
def review(
    round_: Annotated[str, typer.Option("--round", help="Whose labels to look at.")] = "r1",
    limit: Annotated[int | None, typer.Option(min=1, help="Most images to show; params.yaml has the default.")] = None,
    budget: Annotated[
        int, typer.Option(min=0, help="Queue so many labels: the doubtful ones and a random slice. 0 = no queue.")
    ] = 0,
    app_: Annotated[bool, typer.Option("--app/--no-app", help="Open the App, or only build the data set.")] = True,
    sync: Annotated[
        bool, typer.Option("--sync", help="Bring the corrections made in FiftyOne into the ledger.")
    ] = False,
    who: Annotated[str | None, typer.Option(help="Name for the ledger; else git's user.name.")] = None,
) -> None:
    """Look at a round's labels in FiftyOne; with --sync bring the corrections back."""

    def action() -> None:
        from tasks.params import load

        settings = load()
        from tasks.review import session, workspaces
        from tasks.review.app import serve

        if sync:
            print(session.sync(round_, who or _git_user()))
            return
        if limit is not None:
            shorter = settings.review.model_copy(update={"limit": limit})
            settings = settings.model_copy(update={"review": shorter})
        built = session.build(round_, settings, budget)
        print(built)
        if app_:
            serve(built.name, settings.review.port, built.first, who or _git_user(), workspaces.REVIEW)

    _leave(action)


@app.command()
def curate(
    round_: Annotated[str, typer.Option("--round", help="Whose pseudo-labels.")] = "r1",
    preview: Annotated[
        bool, typer.Option("--preview", help="Change nothing: show what thresholds would keep.")
    ] = False,
    truth: Annotated[
        bool, typer.Option("--truth", help="Judge by the sealed labels of the pool: to study, not to choose.")
    ] = False,
) -> None:
    """Show, with --preview, how many labels a grid of thresholds would keep, and how many of them are right."""

    def action() -> None:
        from tasks.errors import UserError

        if not preview:
            what = f"labels are made by the stage curate@{round_}; this command only shows what settings would do"
            raise UserError("not_here", what, f"add --preview, or run `understudy run --stage curate@{round_}`")
        from flows.results import preview_table
        from tasks.params import load
        from tasks.preview import preview as look

        found = look(load(), round_, truth)
        _print_table(f"what curate@{round_} would keep", preview_table(found.rows))
        print(*found.notes, f"plot: {found.plot}", sep="\n")

    _leave(action)


@app.command()
def check() -> None:
    """Check params.yaml, and that the sources and ledgers it names are there."""

    def action() -> None:
        from flows.pipeline.ready import refuse_unready
        from tasks.params import PARAMS_FILE, load

        refuse_unready(load())
        print(f"{PARAMS_FILE} is fine")

    _leave(action)


@app.command()
def quarantine(
    source: Annotated[str | None, typer.Option(help="Only this source.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only what was refused for this reason.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most folders to show of a source.")] = 20,
    release: Annotated[
        str | None, typer.Option(help="Take in this file, or all in this folder: the path as it is shown.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="With --release: the class it is.")] = None,
    who: Annotated[str | None, typer.Option(help="Name for the ledger; else git's user.name.")] = None,
) -> None:
    """List what was refused by folder and reason, worst first; with --release take items in all the same."""

    def action() -> None:
        from flows import quarantine as held
        from tasks.params import load

        if release is not None:
            print(held.let_go(load(), source, release, label, who or _git_user()))
        else:
            print("\n".join(held.lines(load(), source, reason, limit)))

    _leave(action)


@app.command()
def use(
    settings: Annotated[Path, typer.Argument(help="A settings file, for example settings/cifar10.yaml.")],
    source: Annotated[str | None, typer.Option(help="Where the images are: the path of its first source.")] = None,
) -> None:
    """Put a settings file in the place of params.yaml; git and DVC's cache bring the old state back."""

    def action() -> None:
        from flows.use import use as put_in_place

        put_in_place(settings, source)
        print(f"params.yaml now holds {settings}; `git checkout params.yaml && dvc repro` brings back what was")

    _leave(action)


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="The folder to make.")],
    format_: Annotated[
        str, typer.Option("--format", help="csv, parquet, folders, huggingface, fiftyone or coco.")
    ] = "parquet",
    round_: Annotated[str | None, typer.Option("--round", help="Whose label table; else the last round's.")] = None,
    kept: Annotated[bool, typer.Option("--kept/--all", help="Only labels that are learnt from, or all rows.")] = True,
    who: Annotated[str, typer.Option(help="Labels by: everyone, people or teacher.")] = "everyone",
    with_labeled: Annotated[
        bool, typer.Option("--with-labeled", help="Add the labeled images the loop started with.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder that is not empty.")] = False,
) -> None:
    """Write a round's labels, with the images where the format has them, in a form other tools read."""

    def action() -> None:
        from tasks.params import load

        settings = load()
        from tasks.export import rows, write

        choice = rows.Choice(round_ or list(settings.rounds)[-1], kept, rows.whose(who), with_labeled)
        print(write.export(format_, choice, settings, out, force))

    _leave(action)


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="With --remote: its name in DVC; else DVC's default.")] = None,
    remote: Annotated[bool, typer.Option("--remote", help="Check what `dvc push` stored instead.")] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="With --remote: read every object, do not trust its size.")
    ] = False,
    fix: Annotated[bool, typer.Option("--fix", help="Move bad cache objects to .work/quarantined-cache.")] = False,
) -> None:
    """Check every artefact under data/ and DVC's cache byte for byte, or what lies in a DVC remote."""

    def action() -> int:
        from tasks.errors import UserError

        if remote:
            from flows.versions.remote import report as report_remote

            return report_remote(Path.cwd(), name, deep)
        if name is not None or deep:
            raise UserError("no_remote_asked", "a remote's name and --deep go with --remote", "add --remote")
        from flows.versions.verify import report

        return report(Path.cwd(), fix)

    _leave(action)


app.command()(seeds)
app.command()(search_augment)
app.command()(audit)
app.command()(cli_serve.ui)
app.command()(cli_serve.serve)


@app.command()
def table() -> None:
    """Show the results of the last run and where to look next."""
    _leave(_show)


app.command()(cli_lineage.why)
app.command()(cli_lineage.diff)
app.command()(cli_champion.rollback)
app.command()(approve)
app.command()(relabel)


def main() -> None:
    """The `understudy` command."""
    app()


def _show() -> None:
    from rich.console import Console

    from flows import results

    console = Console()
    tables = results.tables(Path.cwd())
    if not tables:
        console.print("no results yet: `make run` makes them")
        return
    for name, rows in tables.items():
        _print_table(results.TITLES[name], rows)
    console.print(
        "\nwhere to look next", *(f"  {line}" for line in results.next_steps(Path.cwd())), sep="\n", markup=False
    )
