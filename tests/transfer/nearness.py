"""How far rows that were kept are from the exact ones."""

from __future__ import annotations

import numpy as np


def relative_error(exact: np.ndarray, kept: np.ndarray) -> float:
    """Mean over samples of ‖exact − kept‖ / ‖exact‖, for arrays (b, …)."""
    exact_bn = exact.reshape(len(exact), -1).astype(np.float64)
    difference_bn = exact_bn - kept.reshape(len(kept), -1)
    norm_b = np.maximum(np.linalg.norm(exact_bn, axis=1), 1e-30)
    return float((np.linalg.norm(difference_bn, axis=1) / norm_b).mean())
