"""What a killed ingest has on disk: the shards that were whole, and what it knew of the files it had checked.

The same command goes on behind them, and its shards come out as if nothing had happened (contract C3): records come in
the same order, so what is missing begins with the first image that no whole shard holds.
"""

import time
from pathlib import Path

from tasks import files
from tasks.images.index import FileIndex

OFTEN = 20  # the index is written at most every 20 times as long as that takes: it grows with the pool
JOURNAL, INDEX = "journal.json", "index.parquet"


class Interrupted:
    """The journal in the resume folder of one ingest; `base` is the identity of the shards it adds to."""

    def __init__(self, folder: Path, base: str) -> None:
        self.folder, self.index = folder, folder / INDEX
        self._base, self._next_save = base, 0.0
        self.parts = self._whole()

    def _whole(self) -> files.Entries:
        """The parts as the journal has them, up to the first that is not as it says."""
        path = self.folder / JOURNAL
        journal = files.read_json(path) if path.exists() else {}
        written: files.Entries = journal["parts"] if journal.get("base") == self._base else {}
        whole: files.Entries = {}
        for name, entry in sorted(written.items()):
            part = self.folder / name
            if not part.is_file() or files.sha256_file(part) != entry["sha256"]:
                break
            whole[name] = entry
        return whole

    def note(self, parts: files.Entries, index: FileIndex) -> None:
        """One more part is on disk."""
        began = time.monotonic()
        if began >= self._next_save:
            index.save(self.index)
            self._next_save = time.monotonic() + OFTEN * (time.monotonic() - began)
        files.replace_json(self.folder / JOURNAL, {"base": self._base, "parts": parts})
