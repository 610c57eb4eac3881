"""A cursor of SQLite that failed is closed in its connection's own thread.

Left alone, Python frees it wherever it collects garbage, most likely in the thread of the server's event loop. There
that waits for the connection, which may be at the next statement and wait itself, up to a minute, for the lock of a
transaction that only the event loop can end: the server stands still for that minute.
"""

from typing import Any

from aiosqlite import Cursor


def close_what_failed() -> None:
    """From now on, in this process."""
    execute: Any = Cursor._execute

    async def closing(self: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return await execute(self, function, *args, **kwargs)
        except BaseException:  # cancelled ones too: their statement is still at work in that thread
            self._conn._tx.put_nowait((None, self._cursor.close))
            raise

    setattr(Cursor, "_execute", closing)  # noqa: B010 - it has no type
