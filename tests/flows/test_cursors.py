"""The event loop never waits for a lock of SQLite, also when garbage is collected at a bad moment."""

import asyncio
import gc
import time
from pathlib import Path

import aiosqlite
import pytest

from flows.serving.cursors import close_what_failed

PATIENT = 2.0  # seconds that a writer waits for the lock


async def _collect_while_a_writer_waits(database: Path) -> float:
    """Seconds that a collection takes, after a write of the same connection was refused."""
    async with aiosqlite.connect(database) as holder, aiosqlite.connect(database, timeout=0) as other:
        await holder.execute("create table t (x)")
        await holder.commit()
        await holder.execute("begin immediate")
        with pytest.raises(aiosqlite.OperationalError, match="locked"):
            await _refused(other)
        await other.execute(f"pragma busy_timeout = {1000 * PATIENT:.0f}")
        waits = asyncio.create_task(_refused(other))
        await asyncio.sleep(0.2)
        begun = time.perf_counter()
        gc.collect()
        took = time.perf_counter() - begun
        await holder.rollback()
        await asyncio.gather(waits, return_exceptions=True)
        return took


async def _refused(connection: aiosqlite.Connection) -> None:
    """A cursor that only the collector frees, as a traceback leaves them."""
    cursor = await connection.cursor()
    ring = [cursor]
    ring.append(ring)  # type: ignore[arg-type]
    await cursor.execute("insert into t values (1)")


def test_garbage_does_not_wait_for_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python frees a refused cursor in the event loop's thread, which would then wait for the writer's whole time."""
    monkeypatch.setattr(aiosqlite.Cursor, "_execute", aiosqlite.Cursor._execute)  # as it was, afterwards
    gc.disable()
    gc.collect()
    gc.freeze()  # a collection below takes no longer for what other tests left
    try:
        if not asyncio.run(_collect_while_a_writer_waits(tmp_path / "left")) > PATIENT / 2:
            pytest.skip("this Python does not wait there")
        close_what_failed()
        assert asyncio.run(_collect_while_a_writer_waits(tmp_path / "closed")) < PATIENT / 2
    finally:
        gc.unfreeze()
        gc.enable()
