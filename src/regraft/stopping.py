"""What Ctrl-C and SIGTERM do.

The first signal waits for the work to reach a moment at which its state can be kept. Where none
comes in time, and at the second signal, the work is interrupted where it stands. And if Python
does not get to handle the signal at all, the process ends. Nothing on disk minds: every file is
committed whole, so each way only costs time when the command is repeated.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn, final

from regraft import terminal
from regraft.errors import Interrupted

PATIENCE_S = 3.0
"""How long a good moment is waited for."""

LIMIT_S = 4.5
"""How long after a signal the process ends, whatever it is doing."""


def at_once() -> None:
    """From here on, a signal interrupts the work where it stands."""
    _on_signals(_raise)


def leave(code: int) -> NoReturn:
    """End the process without the interpreter's last collection.

    What an interrupted training holds is not freed in order, and a compiler that torch loads
    would list all of it on stderr, below the line that says how to go on.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


@contextmanager
def stoppable() -> Generator[Callable[[], None]]:
    """While the block runs, a signal waits for the function that this gives to be called.

    The function raises `Interrupted` if a signal has arrived; call it at good moments.
    """
    wish = _Wish()
    signal.signal(signal.SIGALRM, wish.lose_patience)
    _on_signals(wish.receive)
    try:
        with _last_resort():
            yield wish.grant
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        at_once()


@final
class _Wish:
    """The signal that has arrived, if any."""

    def __init__(self) -> None:
        self._signal = 0

    def receive(self, number: int, frame: FrameType | None) -> None:
        if self._signal:
            raise Interrupted(number)
        self._signal = number
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)

    def lose_patience(self, number: int, frame: FrameType | None) -> NoReturn:
        raise Interrupted(self._signal)

    def grant(self) -> None:
        if self._signal:
            raise Interrupted(self._signal)


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted(number)


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


@contextmanager
def _last_resort() -> Generator[None]:
    """After a signal, end the process at `LIMIT_S` even if Python never gets to handle it.

    A compiler or a solver can keep the main thread busy for long. The interpreter writes the
    number of each signal to a pipe as it arrives, and a thread waits at the other end.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_end_after_signal, args=(reader,), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)


def _end_after_signal(reader: int) -> None:
    number = os.read(reader, 1)
    if not number:
        os.close(reader)
        return
    time.sleep(LIMIT_S)
    terminal.show_cursor()
    terminal.say("stopped in the middle of a step; repeat the command to go on")
    os._exit(128 + number[0])
