"""The commands `understudy ui` and `understudy serve`."""

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.terminal import leave

Port = Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")]
Host = Annotated[str, typer.Option(help="Address to listen on; any other than loopback needs --expose.")]
Expose = Annotated[
    list[str] | None,
    typer.Option(help="A name or address by which others reach the pages: they can read and start runs there."),
]


def ui(port: Port = 4200, host: Host = "127.0.0.1", expose: Expose = None) -> None:
    """Start Prefect's server and pages, on loopback only: runs started elsewhere on this machine report to it."""

    def action() -> None:
        from flows.serving import serve, server

        serve.ui(server.prepare(Path.cwd()), serve.Where(port, host, tuple(expose or ())))

    leave(action)


def serve(
    port: Port = 4200,
    database_url: Annotated[
        str | None,
        typer.Option(
            envvar="UNDERSTUDY_DATABASE_URL",
            help="PostgreSQL for a team: postgresql+asyncpg://USER:PASSWORD@HOST/NAME.",
        ),
    ] = None,
    host: Host = "127.0.0.1",
    expose: Expose = None,
) -> None:
    """Start everything for one machine: Prefect's server and pages, deployments, schedules and a worker."""

    def action() -> None:
        from flows.serving import serve as served
        from flows.serving import server

        where = served.Where(port, host, tuple(expose or ()))
        served.serve(server.prepare(Path.cwd()), where, database_url)

    leave(action)
