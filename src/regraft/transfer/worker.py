"""A process of our own, and how one talks to it.

It exists so that the process that serves the user never imports torch to prepare a network. A
message is a JSON line and the bytes of the arrays it announces, over stdin and stdout. The
process ends when its stdin does: whatever ends the parent, a signal or a power cut to its
memory, ends the child.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from typing import IO, Any, final

import numpy as np

from regraft import errors
from regraft.errors import BackboneError, RegraftError
from regraft.interpreter import own_process

Message = tuple[dict[str, Any], list[np.ndarray]]

_FAULTS: dict[str, type[RegraftError]] = {
    fault.__name__: fault
    for fault in vars(errors).values()
    if isinstance(fault, type) and issubclass(fault, RegraftError)
}


def send(stream: IO[bytes], facts: dict[str, Any], arrays: Sequence[np.ndarray] = ()) -> None:
    """Write one message."""
    kinds = [{"shape": array.shape, "dtype": array.dtype.str} for array in arrays]
    stream.write(json.dumps({"facts": facts, "arrays": kinds}).encode() + b"\n")
    for array in arrays:
        stream.write(np.ascontiguousarray(array).data)
    stream.flush()


def receive(stream: IO[bytes]) -> Message:
    """Read one message.

    Raises:
        EOFError: the other side is gone.
    """
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    head = json.loads(line)
    arrays: list[np.ndarray] = []
    for kind in head["arrays"]:
        array = np.empty(kind["shape"], np.dtype(kind["dtype"]))
        data = stream.read(array.nbytes)
        if len(data) < array.nbytes:
            raise EOFError
        array.reshape(-1).view(np.uint8)[:] = np.frombuffer(data, np.uint8)
        arrays.append(array)
    return head["facts"], arrays


def fault_as_facts(fault: RegraftError) -> dict[str, Any]:
    """What `Worker.receive` raises again on the other side."""
    kind = type(fault).__name__
    return {"fault": kind, "what": fault.what, "where": fault.where, "mend": fault.mend}


@final
class Worker:
    """A running `python -m module`. `close`, or the end of this process, ends it."""

    def __init__(self, module: str) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        command, environment = own_process(module)
        self._process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            start_new_session=True,  # Ctrl-C is for us to answer
        )
        self._end = weakref.finalize(self, _end, self._process, self._log)

    def send(self, facts: dict[str, Any], arrays: Sequence[np.ndarray] = ()) -> None:
        """Write one message.

        Raises:
            BackboneError: the process is gone.
        """
        assert self._process.stdin is not None
        try:
            send(self._process.stdin, facts, arrays)
        except BrokenPipeError:
            self.receive()  # it may have said why

    def receive(self) -> Message:
        """Wait for one message.

        Raises:
            RegraftError: the one that was raised over there.
            BackboneError: the process is gone.
        """
        assert self._process.stdout is not None
        try:
            facts, arrays = receive(self._process.stdout)
        except EOFError:
            raise BackboneError(
                f"the process that prepares the network ended: {self._last_words()}",
                where=f"exit code {self._process.wait()}",
                mend="repeat; if it was killed, free some memory first",
            ) from None
        if "fault" in facts:
            fault = _FAULTS[facts["fault"]]
            raise fault(facts["what"], where=facts["where"], mend=facts["mend"])
        return facts, arrays

    def close(self) -> None:
        """End the process."""
        self._end()

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def _end(process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, log):
        assert stream is not None
        try:
            stream.close()
        except BrokenPipeError:
            pass  # what was still to be sent has nobody to read it
