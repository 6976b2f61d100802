"""Under which name people spoke of a sample: its own, or that of what it was cut from.

`fit --clip` cuts files into clips, which are called `street.mp4@6.00-12.00s`; votes and decisions
are about `street.mp4`, or about a longer part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from regraft.dataset.video import parted


def spoken_of(names: Iterable[str]) -> Callable[[str], str | None]:
    """Finds the name that a sample was spoken of by.

    Args:
        names: that people used.

    Returns:
        from a sample's name to one of these: its own, the shortest part that holds it, or its
        file's; None where nobody spoke of it.
    """
    known = frozenset(names)
    parts: dict[str, list[tuple[float, float, str]]] = {}
    for name in known:
        file, span_s = parted(name)
        if span_s is not None:
            parts.setdefault(file, []).append((*span_s, name))

    def find(name: str) -> str | None:
        if name in known:
            return name
        file, span_s = parted(name)
        if span_s is None:
            return None
        around = [
            (stop_s - start_s, part)
            for start_s, stop_s, part in parts.get(file, ())
            if start_s <= span_s[0] and span_s[1] <= stop_s
        ]
        if around:
            return min(around)[1]
        return file if file in known else None

    return find
