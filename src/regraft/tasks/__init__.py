"""One file per task: head, loss, metrics, decoding of outputs; and the contract they keep."""

from regraft.tasks.check import check_task
from regraft.tasks.classification import Classification

__all__ = ["Classification", "check_task"]
