"""`python -m flows.serving.guarded HOST PORT NAME…`: Prefect's server behind the guard of access.py.

The same application that `prefect server start` runs, with its scheduler and pages.
"""

import sys

from flows.serving.access import Guard
from flows.serving.again import Again
from flows.serving.cursors import close_what_failed
from flows.serving.reports import Reports


def main(host: str, port: int, names: list[str]) -> None:
    """Run the server until it is told to stop."""
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    close_what_failed()
    settings = get_current_settings().server.api
    uvicorn.run(
        Guard(Reports(Again(create_app(final=True))), names),
        host=host,
        port=port,
        timeout_keep_alive=settings.keepalive_timeout,
        ws_ping_interval=settings.websocket_ping_interval,
        ws_ping_timeout=settings.websocket_ping_timeout,
        log_level="warning",
        server_header=False,
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
