"""Everything that can go wrong for a user, with its exit code (contracts C8 and C9).

An error says what happened, where (file, row or key), why, and how to mend it. The command line and the stages print it
without a traceback unless UNDERSTUDY_DEBUG is set.
"""

DONE, BAD_INPUT, TOO_MANY_BAD, HELD, INTEGRITY, OUR_BUG, BUSY = 0, 2, 3, 4, 5, 70, 75


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
