"""Detectors that transformers has saved, from the command line, from the first byte to the last."""

from __future__ import annotations
