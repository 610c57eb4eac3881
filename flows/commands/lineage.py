"""`understudy why` and `understudy diff`: what is recorded about an image, and what changed between two versions."""

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.terminal import leave


def why(
    image: Annotated[
        str | None,
        typer.Argument(
            help="An image_id, its first digits, a path as in the catalog (or SOURCE:PATH), a file on disk."
        ),
    ] = None,
    revision: Annotated[str, typer.Option("--rev", help="As a git revision recorded it.")] = "workspace",
    round_: Annotated[str | None, typer.Option("--round", help="Only this round.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="All of it, for machines.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Ask the named teachers again and compare with what is stored.")
    ] = False,
    random_: Annotated[int | None, typer.Option("--random", min=1, help="With --check: this many images.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="With --random: draw the same ones again.")] = None,
) -> None:
    """Explain one image: its file and role, what each teacher said, why it is learnt from or not, and who decided."""

    def action() -> int:
        import json

        from flows.lineage import why as reasons
        from flows.lineage.why_text import show
        from tasks.errors import UserError

        if check:
            from flows.lineage.why_check import check_image, check_random
        if check and random_:
            return check_random(Path.cwd(), random_, seed, revision, round_)
        if image is None or random_:
            fix = "`understudy why IMAGE`, or `understudy why --check --random 100`"
            raise UserError(
                "no_image", "say which image" if image is None else "--random draws with --check alone", fix
            )
        found = reasons.facts(Path.cwd(), image, revision, round_)
        code = check_image(Path.cwd(), found, revision) if check else 0
        if json_:
            print(json.dumps(found, indent=2))
        else:
            show(found)
        return code

    leave(action)


def diff(
    first: Annotated[str, typer.Argument(help="A git revision whose run was committed, or `workspace`.")] = "HEAD",
    second: Annotated[str, typer.Argument(help="The other one.")] = "workspace",
    round_: Annotated[str | None, typer.Option("--round", help="Whose labels; else the last round of both.")] = None,
    top: Annotated[int, typer.Option(min=0, help="Rows to print.")] = 20,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write every changed row there.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Where the page goes; else .work/diff.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="For machines; no page is written unless --html asks.")] = False,
) -> None:
    """Show which labels changed between two versions and why; with pictures, as one HTML file."""

    def action() -> None:
        import json

        from flows.lineage import diff_text
        from flows.lineage.diff import between

        found = between(Path.cwd(), first, second, round_)
        if csv is not None:
            diff_text.write_csv(found, csv)
        page = diff_text.write_page(found, html) if html is not None or not json_ else None
        if json_:
            print(json.dumps(found.as_dict(top), indent=2))
            return
        diff_text.show(found, top)
        print(f"pictures: {page}" + (f"\nall rows: {csv}" if csv else ""))

    leave(action)
