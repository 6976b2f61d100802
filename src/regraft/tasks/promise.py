"""How the contracts of tasks are enforced; see `check.py` and `check_boxes.py`."""

from __future__ import annotations

from regraft.errors import ContractBroken


def promise(kept: bool, what: str) -> None:
    """Raise `ContractBroken` if a promise is not kept; says what was promised."""
    if not kept:
        raise ContractBroken(f"a task breaks its contract: {what}", where="check_task")
