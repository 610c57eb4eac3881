"""One `understudy serve` for all tests of runs."""

import signal
from collections.abc import Iterator

import pytest

from tests.ui.served import Served


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One for all tests, which leave it running."""
    made = Served(tmp_path_factory.mktemp("served").resolve() / "toy")
    yield made
    made.end(signal.SIGINT)
    made.receiver.shutdown()
    made.receiver.server_close()
    assert made.toy.alive() == []
