"""Which samples the decisions in a journal are about.

A decision names its sample and the sample's content (a part of its checksum): a table may be
sorted, a file renamed or cut into clips after the review.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from regraft.dataset import Sample
from regraft.dataset.video import clip_id, parted
from regraft.labelling.journal import Decision
from regraft.labelling.named import spoken_of

_OUTSIDE = re.compile(r"^(?:\.{1,2}/)+")


def content_key(sample: Sample) -> str:
    """What names a sample's content in the journal; "" where it was not read.

    16 hex digits of its checksum; of a clip those of its file, and which part of it is meant.
    """
    if not sample.file_sha256:
        return sample.sha256[:16]
    span_s, file = parted(sample.id)[1], sample.file_sha256[:16]
    return file if span_s is None else clip_id(file, span_s)


def about(
    decisions: Iterable[Decision], samples: Iterable[Sample]
) -> tuple[list[Decision], list[Decision]]:
    """Decisions by the ids of the samples that they are about, and those that are about none.

    A decision is about the content that it was made on. If the sample of its name has another, it
    is about those that have this one; about a clip, if it was about the clip's file. Without a
    content, as older versions wrote it, it is about the sample of its name.

    Args:
        decisions: in the order in which they were made.
        samples: that they may be about.

    Returns:
        decisions, as often as there are samples that they are about; and the rest. Those that fit
        name and content are the last: of equal files one may be left out, and what was said of it
        is not the last word on the other.
    """
    decisions = list(decisions)
    contents = {sample.id: content_key(sample) for sample in samples}
    found: list[tuple[int, str]] = []
    own: list[tuple[int, str]] = []
    named: dict[str, list[int]] = {}
    like: dict[str, list[int]] = {}
    for n, one in enumerate(decisions):
        content = contents.get(one.sample)
        if content and content == one.content:
            own.append((n, one.sample))
        elif content is not None and "" in (content, one.content):
            found.append((n, one.sample))
        elif one.content:
            like.setdefault(one.content, []).append(n)
        else:
            for name in _ends(one.sample):
                named.setdefault(name, []).append(n)
    # Pools in several places, whose names end alike, are not told apart by these.
    named = {k: rows for k, rows in named.items() if len({decisions[n].sample for n in rows}) == 1}
    name_of, content_of = spoken_of(named), spoken_of(like)
    for id_, content in contents.items() if named or like else ():
        name, alike = name_of(_OUTSIDE.sub("/", id_)), content_of(content)
        rows = set[int]() if name is None else set(named[name])
        rows |= set[int]() if alike is None else set(like[alike])
        found += [(n, id_) for n in rows]
    found = sorted(found) + own
    matched = {n for n, _ in found}
    lost = [one for n, one in enumerate(decisions) if n not in matched]
    return [replace(decisions[n], sample=id_) for n, id_ in found], lost


def _ends(name: str) -> Iterator[str]:
    """The name; of an absolute path, which another machine does not have, each of its ends."""
    yield name
    if name.startswith("/"):
        parts = name.split("/")
        yield from ("/" + "/".join(parts[begin:]) for begin in range(2, len(parts)))
