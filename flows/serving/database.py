"""Where the Prefect server keeps its records: SQLite in .prefect, or the PostgreSQL that --database-url names."""

import socket
from urllib.parse import parse_qsl, urlsplit

from tasks.errors import UserError

DRIVER = "postgresql+asyncpg"
PORT = 5432
ANSWER = 5.0  # seconds


def checked(url: str) -> str:
    """The URL as Prefect wants it; UserError when it is none of PostgreSQL or nobody answers there.

    `postgresql://` and `postgres://` get the one driver that Prefect's server can use.
    """
    scheme, sign, rest = url.partition("://")
    if not sign or scheme not in {DRIVER, "postgresql", "postgres"}:
        what = f"--database-url begins with {scheme + sign if sign else 'no scheme'}"
        raise _bad(what)
    try:
        parts = urlsplit(f"{DRIVER}://{rest}")
        host, port = parts.hostname, parts.port or PORT
    except ValueError as error:
        raise _bad(f"--database-url: {error}") from None
    query = dict(parse_qsl(parts.query))
    if not parts.path.strip("/"):
        raise _bad("--database-url names no database")
    if "sslmode" in query:
        raise _bad("--database-url: the driver asyncpg knows no sslmode; it is called ssl there")
    if host and "host" not in query:  # a socket's folder is named in the query
        _refuse_silent(host, port)
    return parts.geturl()


def _refuse_silent(host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=ANSWER).close()
    except OSError as error:
        what = f"no database answers at {host}:{port}: {error}"
        raise UserError("no_database", what, f"`pg_isready -h {host} -p {port}` says what PostgreSQL says") from None


def _bad(what: str) -> UserError:
    fix = f"{DRIVER}://USER:PASSWORD@HOST:{PORT}/DATABASE; without it, records are kept in .prefect/prefect.db"
    return UserError("bad_database", what, fix)
