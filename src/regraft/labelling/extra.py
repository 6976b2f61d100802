"""The extra `labels`: packages that only what is said about labels needs."""

from __future__ import annotations

from importlib.util import find_spec

from regraft.errors import MissingExtra


def require(*modules: str, what: str) -> None:
    """Refuse to go on without some packages.

    Args:
        modules: the names that they are imported by.
        what: the fault where one of them is not there, in one sentence.

    Raises:
        MissingExtra: one is not.
    """
    if any(find_spec(module) is None for module in modules):
        raise MissingExtra(what, mend="pip install 'regraft[labels]'")
