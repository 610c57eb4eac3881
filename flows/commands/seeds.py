"""The commands `understudy seeds` and `understudy search-augment`: studies of DVC experiments."""

from typing import Annotated

import typer

from flows.commands.terminal import leave, print_table


def seeds(
    n: Annotated[int, typer.Option("--n", min=1, help="How many, from `seed` of params.yaml on.")] = 5,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Another setting for every seed, such as teacher.steps=50.")
    ] = None,
) -> None:
    """Run the loop under several seeds as DVC experiments; then mean, spread and which gains are more than noise."""

    def action() -> int:
        from flows import seeds as study
        from tasks.files import SEEDS

        found, code = study.seeds(n, set_ or [], lambda line: print(line, flush=True))
        print_table(f"accuracy on the sealed test, {len(found.seeds)} seeds", study.rows(found))
        print(*study.lines(found), sep="\n")
        print(f"written to {SEEDS}; `dvc repro report` puts it into the report")
        return code

    leave(action)


def search_augment(
    num_ops: Annotated[list[int] | None, typer.Option(min=0, max=16, help="Operations an image to try.")] = None,
    magnitude: Annotated[list[float] | None, typer.Option(min=0, max=40, help="Magnitudes to try.")] = None,
) -> None:
    """Try a grid of input noise for the last round's student, judged by the gate's images; the settings stay."""

    def action() -> int:
        from flows import search

        grid = num_ops or [1, 2, 3], magnitude or [5.0, 10.0, 15.0]
        rows, code = search.search(*grid, lambda line: print(line, flush=True))
        print_table("the last student against its teacher on the gate's images", search.shown(rows))
        return code

    leave(action)
