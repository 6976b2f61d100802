"""What can go wrong, as one tree.

RegraftError (ValueError)          says what is wrong, where, and how to mend it; exit code 1
├── UsageError                     the command or the call is wrong; exit code 2
├── DataError                      the data set cannot be used as it is
│   ├── UnreadableSample           one file is damaged, lies about itself or is no picture
│   └── TooManyBadSamples          more files were set aside than allowed
├── BackboneError                  a network cannot be opened, cut or trusted
│   ├── NotHere                    its weights are not on this machine, or not published
│   └── ContractBroken             a check_… function found a promise that is not kept
├── TrainingFailed                 what is learnt is no number, or of no use: it is not gone on with
├── StoreError                     something on disk is damaged, locked or full
│   └── Damaged                    a file is not what was written: `where` is its path
└── MissingExtra                   a package that this needs is not installed

Interrupted (BaseException)        the user or the machine asked to stop; exit code 130 or 143
"""

from __future__ import annotations


class RegraftError(ValueError):
    """Something the user can mend. `str()` gives the whole message.

    Args:
        what: the fault, in one sentence.
        where: the file, line, sample or option it was found at.
        mend: what to do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: object = "", mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = str(where)
        self.mend = mend

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.mend:
            first, *below = self.mend.split("\n")
            lines += [f"  mend:  {first}", *(f"         {line}" for line in below)]
        return "\n".join(lines)


class UsageError(RegraftError):
    """The command or the call is wrong."""

    exit_code = 2


class DataError(RegraftError):
    """The data set cannot be used as it is."""


class UnreadableSample(DataError):
    """One file is damaged, lies about itself or is no picture."""


class TooManyBadSamples(DataError):
    """More files were set aside than allowed."""


class BackboneError(RegraftError):
    """A network cannot be opened, cut or trusted."""


class NotHere(BackboneError):
    """A network's weights are not on this machine, or nobody publishes any."""


class ContractBroken(BackboneError):
    """A `check_…` function found a promise that is not kept."""


class TrainingFailed(RegraftError):
    """What is learnt is no number, or of no use: it is not gone on with."""


class StoreError(RegraftError):
    """Something on disk is damaged, locked or full."""


class Damaged(StoreError):
    """A file is not what was written. `where` is its path."""


class MissingExtra(RegraftError):
    """A package that this needs is not installed."""


class Interrupted(BaseException):
    """The user or the machine asked to stop. Everything done so far is kept.

    Args:
        signal_number: 2 (Ctrl-C) or 15 (SIGTERM).
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by signal {signal_number}; repeat the command to go on")
        self.exit_code = 128 + signal_number
