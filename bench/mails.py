"""E-mail with its threads: subject and body of ham and spam, in tables that `regraft fit` reads.

The parts easy-ham-1 and spam-1 of spam-assassin: 2,500 and 500 mails. Header lines other than the
subject are left out: they name the mailbox that a mail was collected from. Mails of one thread (by
subject, without "Re:" and the list's name), and near copies (templates, quotes; found by regraft
itself), are one group, and no group is both drawn from and tested on.
"""

from __future__ import annotations

import csv
import email
import email.policy
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data import DATA
from bench.label_data import SPAM_ASSASSIN, _fetched, _readable

PARTS = {"easy-ham-1": "ham", "spam-1": "spam"}
LABELS = ("ham", "spam")
TEST = {"ham": 500, "spam": 130}
"""Mails that are kept for the test, about; groups are not divided."""
_ANSWER = re.compile(r"^\s*((re|fwd?|aw)\s*(\[\d+\])?:|\[[^\]]{1,30}\]|\(fwd\))\s*", re.I)


@dataclass(frozen=True)
class Mail:
    """One mail: text, "ham" or "spam", and the thread it is of."""

    text: str
    label: str
    thread: str


def mails(folder: Path = DATA) -> list[Mail]:
    """All of them, in order of file names."""
    return [
        Mail(text, label, _thread(raw, name))
        for name, label, raw in raw_mails(folder)
        if (text := _readable(raw))
    ]


def raw_mails(folder: Path = DATA) -> list[tuple[str, str, bytes]]:
    """Names, labels and bytes of them as they were collected, in order of names."""
    archive = _fetched("spam-assassin.tgz", *SPAM_ASSASSIN, folder)
    found: list[tuple[str, str, bytes]] = []
    with tarfile.open(archive) as members:
        for member in members:
            parts = member.name.split("/")
            if not parts[-1].endswith(".txt") or parts[-2] not in PARTS:
                continue
            file = members.extractfile(member)
            assert file is not None
            found.append((member.name, PARTS[parts[-2]], file.read()))
    return sorted(found)


def _thread(raw: bytes, name: str) -> str:
    subject = str(email.message_from_bytes(raw, policy=email.policy.compat32).get("Subject", ""))
    before = None
    while subject != before:
        before, subject = subject, _ANSWER.sub("", subject)
    words = " ".join(subject.lower().split())
    return words if len(words) > 3 else name


@dataclass(frozen=True)
class Division:
    """Mails to draw from and mails to test on, which share no group."""

    pool: list[Mail]
    test: list[Mail]


def divided(folder: Path = DATA, seed: int = 0) -> Division:
    """Pool and test, divided by groups."""
    from regraft.dataset import read

    every = mails(folder)
    table = write(folder / "mails-all.csv", every)
    rows = read(table, max_bad=0.1, seed=seed)
    group = {int(s.id.split()[1]): s.group or s.sha256 for s in rows}
    # One header line, and no mail has a line break in it.
    grouped = [(mail, group.get(i + 2, str(i))) for i, mail in enumerate(every)]
    rng = np.random.default_rng(seed)
    test_groups: set[str] = set()
    for label, wanted in TEST.items():
        names = sorted({g for mail, g in grouped if mail.label == label})
        have = sum(mail.label == label for mail, g in grouped if g in test_groups)
        for place in rng.permutation(len(names)):
            if have >= wanted:
                break
            test_groups.add(names[place])
            have += sum(mail.label == label for mail, g in grouped if g == names[place])
    return Division(
        [mail for mail, g in grouped if g not in test_groups],
        [mail for mail, g in grouped if g in test_groups],
    )


def drawn(pool: list[Mail], labels: int, seed: int) -> list[Mail]:
    """So many mails of each class, or all there are; smaller draws of one seed lie in larger."""
    order = np.random.default_rng(seed).permutation(len(pool))
    shuffled = [pool[i] for i in order]
    return [m for name in LABELS for m in [m for m in shuffled if m.label == name][:labels]]


def write(path: Path, some: list[Mail]) -> Path:
    """A table of text, label and group."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = [(m.text, m.label, m.thread) for m in some]
        csv.writer(file).writerows([("text", "label", "group"), *rows])
    return path
