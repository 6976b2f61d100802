"""What `loop.py` trains. It imports no torch, so that whoever keeps the contract need not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Work(Protocol):
    """What is trained."""

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups for AdamW; "lr" is the highest rate."""
        ...

    def backward(self, step: int) -> float:
        """Add the gradients of a step's batch to the parameters, and give its loss.

        A function of the seed, the step and the state, and of nothing else.
        """
        ...

    def stepped(self, step: int) -> None:
        """Called after the optimiser's step: for what moves without gradients."""
        ...

    def named(self, step: int) -> str:
        """What a step's batch is made of, for a message."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that training changes, by name; themselves, not copies."""
        ...

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        ...
