"""FiftyOne's database: whose it is, where it lies, and what it needs.

It is a disposable view. What people decided is in data/decisions; deleting the folder .fiftyone loses nothing that was
synced. Everything listens on loopback alone: the App has no log-in.
"""

import hashlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tasks.errors import UserError

HOME = Path(".fiftyone")
PLUGIN = Path(__file__).resolve().parent / "plugin"
BLIND = "UNDERSTUDY_BLIND"  # set for the server of a blind audit: it offers neither buttons nor lineage
URI = "FIFTYONE_DATABASE_URI"
PORT = "FIFTYONE_PRIVATE_DATABASE_PORT"  # how FiftyOne tells its own child processes where mongod listens


def connect() -> Any:
    """Import FiftyOne with this project's own database, start mongod where none runs yet, and return the module.

    FIFTYONE_DATABASE_URI leads to a mongod of your own instead; the database in it carries a hash of the project's
    path, for two projects may share that server. Takes about 5 s. Raises UserError when there is no mongod.
    """
    os.environ.update(_environment(Path.cwd()))
    if "fiftyone" not in sys.modules:
        os.environ.pop(PORT, None)  # of whoever started this process: it may serve another project
    if URI not in os.environ:
        check_mongod(mongod())
    import fiftyone as fo

    _only_for(HOME.resolve())
    link_plugin(HOME / "plugins")
    wait_for_journal()
    from fiftyone.core.config import FiftyOneConfigError
    from fiftyone.core.service import ServiceException
    from pymongo.errors import PyMongoError

    try:
        fo.list_datasets()
    except (PyMongoError, FiftyOneConfigError, ServiceException, OSError, RuntimeError) as error:
        where = f"the server of {URI}" if URI in os.environ else f"the database in {HOME}"
        raise UserError(
            "no_database",
            f"{where} does not answer: {error}",
            f"start that mongod, or unset {URI}"
            if URI in os.environ
            else f"read {HOME}/db/log/mongo.log; `rm -r {HOME}` makes a new one and loses only what was not synced",
        ) from None
    return fo


def _only_for(home: Path) -> None:
    """Keep this project's mongod to itself.

    FiftyOne looks for a running database service by its arguments and attaches to the first one of the same user,
    whichever folder it serves: two projects reviewed at once would share one database, and each would remove the
    other's half-built data sets when it ends. So the folder is made part of the arguments (its service skips options
    that it does not know), in front of --multi, where a FiftyOne of somebody else does not take ours for its own.
    """
    from fiftyone.core.service import DatabaseService

    arguments = ["--51-service", DatabaseService.service_name, "--home", str(home), "--multi"]
    DatabaseService._service_args = property(lambda _self: arguments)


def wait_for_journal() -> None:
    """Every write is on mongod's disk before it counts as done: a mongod that is killed forgets nothing it has said.

    Else its journal is written every tenth of a second.
    """
    from fiftyone.core.odm import database

    database._connection_kwargs["journal"] = True


def link_plugin(plugins: Path) -> None:
    """Let FiftyOne find our plugin among those that a user may have put there too."""
    plugins.mkdir(parents=True, exist_ok=True)
    link = plugins / "understudy"
    if not link.is_symlink() or link.readlink() != PLUGIN:
        fresh = plugins / f".understudy-{os.getpid()}"
        fresh.symlink_to(PLUGIN)
        fresh.replace(link)


def mongod() -> Path:
    """Where FiftyOne looks for mongod: inside its own package, whichever wheel brought it."""
    spec = find_spec("fiftyone")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "db" / "bin" / "mongod"


def check_mongod(path: Path) -> None:
    """Raise UserError saying how to get a mongod unless `path` is one that can be started."""
    if os.access(path, os.X_OK):
        return
    raise UserError(
        "no_mongod",
        f"{path} {'cannot be executed' if path.exists() else 'does not exist'}; FiftyOne keeps its data sets "
        "in mongod, and the installation could not download it (the stages do without)",
        f"`pip install -r requirements-mongod.lock`, or set {URI}=mongodb://127.0.0.1:27017 to a mongod 6 or later",
    )


def _environment(project: Path) -> dict[str, str]:
    """FiftyOne's settings, read once when it is imported; an address or a name given from outside stands."""
    home = project / HOME
    project_hash = hashlib.sha256(str(project).encode()).hexdigest()[:8]
    name = f"understudy-{project_hash}" if URI in os.environ else "understudy"
    return {
        "FIFTYONE_DATABASE_DIR": str(home / "db"),
        "FIFTYONE_DATABASE_NAME": os.environ.get("FIFTYONE_DATABASE_NAME", name),
        "FIFTYONE_DATABASE_VALIDATION": "false",  # warns about every mongod older than the newest two
        "FIFTYONE_DEFAULT_APP_ADDRESS": "127.0.0.1",
        "FIFTYONE_DEFAULT_DATASET_DIR": str(home / "datasets"),
        "FIFTYONE_DATASET_ZOO_DIR": str(home / "zoo" / "datasets"),
        "FIFTYONE_MODEL_ZOO_DIR": str(home / "zoo" / "models"),
        "FIFTYONE_PLUGINS_DIR": str(home / "plugins"),
        "FIFTYONE_PLUGINS_CACHE_ENABLED": "true",  # or every click reads and runs all plugins again
        "FIFTYONE_DO_NOT_TRACK": "true",
        "FIFTYONE_LOGGING_LEVEL": "WARNING",
        "FIFTYONE_SHOW_PROGRESS_BARS": "false",
    }
