"""Randomness without state: every draw is a pure function of (seed, purpose, indices).

Nothing has to be saved for a resumed run to draw what an undisturbed one would have drawn.
"""

from __future__ import annotations

import hashlib

import numpy as np


def seed_of(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, for example `seed_of(0, "batches", epoch)`."""
    text = "\x1f".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """A fresh NumPy generator for one purpose."""
    return np.random.Generator(np.random.PCG64(seed_of(seed, *purpose)))
