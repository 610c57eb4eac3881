"""The command `understudy seeds`."""

from typing import Annotated

import typer

from flows.terminal import leave, print_table


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
