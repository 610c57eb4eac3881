"""Everything that can go wrong for a user, with its exit code (contracts C8 and C9).

An error says what happened, where (file, row or key), why, and how to mend it. The command line and the stages print it
without a traceback unless UNDERSTUDY_DEBUG is set.
"""

import errno
import os
import shutil
import sys
import traceback
from collections.abc import Callable

DONE, BAD_INPUT, TOO_MANY_BAD, HELD, INTEGRITY, OUR_BUG, BUSY = 0, 2, 3, 4, 5, 70, 75
INTERRUPTED = 130  # 128 + SIGINT: what a shell reports


class UserError(Exception):
    """A problem the user can mend; `code` is a stable name, `exit_code` one of C9."""

    exit_code = BAD_INPUT

    def __init__(self, code: str, what: str, fix: str) -> None:
        """`what` names the file, row or key and the reason; `fix` is a command or a line to edit."""
        super().__init__(what)
        self.code, self.what, self.fix = code, what, fix

    def __str__(self) -> str:
        return f"error [{self.code}]: {self.what}\n  fix: {self.fix}"


class TooManyBad(UserError):
    """More bad inputs than the settings allow."""

    exit_code = TOO_MANY_BAD


class Held(UserError):
    """A quality gate refused to go on; what was there before is kept."""

    exit_code = HELD


class Integrity(UserError):
    """An artefact is not what its commit record says."""

    exit_code = INTEGRITY


class Busy(UserError):
    """Somebody else is at work, or an input changed meanwhile: try later."""

    exit_code = BUSY


def exit_code(action: Callable[[], None]) -> int:
    """Call an action; print a user's error without traceback; return the exit code of C9."""
    try:
        action()
    except UserError as error:
        if os.environ.get("UNDERSTUDY_DEBUG"):
            traceback.print_exc()
        print(error, file=sys.stderr, flush=True)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped by Ctrl-C; the same command continues", file=sys.stderr, flush=True)
        return INTERRUPTED
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES}:
            return _our_bug()
        free = shutil.disk_usage(".").free
        print(
            f"error [cannot_write]: {error}; {free:,} bytes are free here; what was there before is unchanged\n"
            "  fix: make room or mend the permissions, then run the same command again",
            file=sys.stderr,
        )
        return BAD_INPUT
    except Exception:
        return _our_bug()
    return 0


def _our_bug() -> int:
    traceback.print_exc()
    print("error [our_bug]: this is a mistake of understudy, not yours; please report the lines above", file=sys.stderr)
    return OUR_BUG
