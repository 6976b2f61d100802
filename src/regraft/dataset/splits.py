"""Who trains, who validates, who tests.

Decisions:

- Groups stay together. A group is placed by a hash of (seed, its key), never by its place in a
  list, so that the same data give the same split on every machine, and a sample that is added
  later moves few others.
- Stratified: each group belongs to the rarest class that it holds, and the groups of one class
  are dealt in the order of their hashes, 15 % to test, 15 % to valid, the rest to train. With
  several labels per sample that keeps rare classes exact and common ones close.
- A class is never missing from train. One that has two groups is also in valid, one that has
  three or more also in test. Where it would be missing, its smallest group of train moves.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from regraft.dataset.rows import Split
from regraft.seeds import seed_of

SHARES: Mapping[Split, float] = {"test": 0.15, "valid": 0.15}
"""What is taken from train for each of the others when nothing is given."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What is placed as a whole: a group, or a sample that stands alone.

    Attributes:
        key: names it, the same on every machine.
        labels: the classes of its samples, one entry per sample and class.
        size: number of samples.
    """

    key: str
    labels: tuple[int, ...]
    size: int


def divide(units: Sequence[Unit], shares: Mapping[Split, float], seed: int) -> list[Split]:
    """The split of each unit.

    Args:
        units: in any order, which does not matter.
        shares: of each split other than train, in the order in which they are served.
        seed: another one gives another division.

    Returns:
        One split per unit, "train" or one of `shares`.
    """
    order = sorted(range(len(units)), key=lambda i: (seed_of(seed, "split", units[i].key), i))
    counts = Counter(label for unit in units for label in unit.labels)
    strata: dict[int, list[int]] = defaultdict(list)
    for i in order:
        rarest = min(set(units[i].labels), key=lambda c: (counts[c], c), default=-1)
        strata[rarest].append(i)
    splits: list[Split] = ["train"] * len(units)
    for members in strata.values():
        _deal(units, members, shares, splits)
    for label in sorted(counts, key=lambda c: (counts[c], c)):
        _mend(units, [i for i in order if label in units[i].labels], shares, splits)
    return splits


def _deal(
    units: Sequence[Unit], members: list[int], shares: Mapping[Split, float], splits: list[Split]
) -> None:
    """Deal the groups of one stratum, in order, until each split has its share, rounded."""
    total = sum(units[i].size for i in members)
    left = {name: total * share for name, share in shares.items()}
    for i in members:
        for name in shares:
            if units[i].size / 2 <= left[name]:
                splits[i] = name
                left[name] -= units[i].size
                break


def _mend(
    units: Sequence[Unit], members: list[int], shares: Mapping[Split, float], splits: list[Split]
) -> None:
    """See to it that one class is in train, then in valid, then in the rest."""
    wanted: list[Split] = ["train", *sorted(shares, reverse=True)]
    for name in wanted[: len(members)]:
        if any(splits[i] == name for i in members):
            continue
        # From where the class has most groups, the smallest; the hash decides between equals.
        held = Counter(splits[i] for i in members)
        source = max(wanted, key=lambda split: (held[split], -wanted.index(split)))
        movable = [i for i in members if splits[i] == source]
        splits[min(movable, key=lambda i: units[i].size)] = name
