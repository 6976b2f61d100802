"""Videos: what pre-training on halves of clips is worth, what decoding costs, what memory does.

python -m bench.video [--epochs 60] [--size 64] [--frames 4]

Four real videos are cut into clips of 0.64 s: 16 scenes, a quadrant of each video, and in each
clip a window at a place of its own, mirrored or not, brighter or darker. The first half of a
video's time is to train on, 60 to 75 % to validate, the last fifth to test: no moment is on two
sides, and a gap lies between. Clips of a scene that overlap in time are one group, so intervals
and tests are over groups. Two questions:

    scene        which of the 16 scenes is this?
    direction    is it played forward or backward?

Four frame encoders answer, frozen, with a linear head on the mean of the frames: a ResNet-10-t
with random weights, the same pre-trained on halves of the training clips (no labels), the same
pre-trained on same moments (the control, as many steps), and EfficientNet-Lite0 of ImageNet.
Direction cannot be seen in the mean of frames, so there the ladder also trains the temporal stage
(`last:1`); the score is that of the rung that was kept, on the test clips.

The pool is the training clips: 192, in batches of 64 over 60 epochs, which makes 180 steps.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

import regraft
from bench import data, harness, pretraining_speed
from bench.harness import Figure
from regraft.backbones import Backbone, build, open_backbone
from regraft.dataset import Sample, read, read_unlabelled
from regraft.pretraining import Settings, pretrain
from regraft.pretraining.clips import ContrastiveClips
from regraft.pretraining.judge import Evaluator, compared

RATE, LENGTH, SIDE_PX = 25, 16, 96
SPANS = {"train": (0.0, 0.5), "valid": (0.6, 0.75), "test": (0.8, 1.0)}
COUNTS = {"train": 12, "valid": 4, "test": 10}
BATCH = 64
QUICK = {"train": 3, "valid": 2, "test": 2}
Row = tuple[str, str, str, str]
"""Of a table: path, label, split, group."""


def write(path: Path, frames_thwc: np.ndarray, rate: int = RATE, count: int | None = None) -> None:
    """Encode a clip of so many frames, from the beginning again where there are fewer."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=rate, options={"preset": "veryfast", "crf": "20"}
        )
        stream.height, stream.width = frames_thwc.shape[1:3]
        stream.pix_fmt, stream.codec_context.thread_count = "yuv420p", 1
        for at in range(count or len(frames_thwc)):
            pixels = frames_thwc[at % len(frames_thwc)]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def frames_of(path: Path, width_px: int = 320) -> np.ndarray:
    """All frames of a video, made smaller."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        height_px = round(width_px * stream.height / stream.width / 2) * 2
        sized = {"width": width_px, "height": height_px, "format": "rgb24"}
        return np.stack([f.to_ndarray(**sized) for f in container.decode(stream)])


def cuts(root: Path, counts: dict[str, int]) -> tuple[Path, Path, Path]:
    """Tables of the two questions, and the folder of the pool."""
    pool, rows = root / "pool", {"scene": list[Row](), "direction": list[Row]()}
    for number, (name, path) in enumerate(data.videos().items()):
        whole = frames_of(path)
        height, width = whole.shape[1] // 2, whole.shape[2] // 2
        for quadrant in range(4):
            top, left = divmod(quadrant, 2)
            part = whole[:, top * height : (top + 1) * height, left * width : (left + 1) * width]
            scene = f"{name}-{quadrant}"
            for place, (split, (begin, end)) in enumerate(SPANS.items()):
                seed = [number, quadrant, place]
                rngs = [np.random.default_rng([*seed, i]) for i in range(counts[split])]
                clips = [drawn(part, rng, begin, end) for rng in rngs]
                stretch = stretches([at for at, _ in clips])
                for i, (rng, (_, clip)) in enumerate(zip(rngs, clips, strict=True)):
                    back = rng.random() < 0.5
                    file, group = f"{split}/{scene}-{i:02}.mp4", f"{scene} {split} {stretch[i]}"
                    write(root / "clips" / file, clip)
                    rows["scene"].append((f"clips/{file}", scene, split, group))
                    write(root / "played" / file, clip[::-1] if back else clip)
                    label = "backward" if back else "forward"
                    rows["direction"].append((f"played/{file}", label, split, group))
                    if split == "train":
                        write(pool / f"{scene}-{i:02}.mp4", clip)
    return *(table(root / f"{name}.csv", some) for name, some in rows.items()), pool


def table(path: Path, rows: list[Row]) -> Path:
    """Write a table of labelled clips."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split", "group"), *rows])
    return path


def stretches(starts: Sequence[int]) -> list[int]:
    """The stretch of time that each clip lies in, by first frames: clips that overlap share one."""
    reach, number, found = 0, -1, dict[int, int]()
    for start in sorted(set(starts)):
        number += not found or start >= reach
        found[start], reach = number, start + LENGTH
    return [found[start] for start in starts]


def drawn(
    part_thwc: np.ndarray, rng: np.random.Generator, begin: float, end: float
) -> tuple[int, np.ndarray]:
    """A clip out of a stretch of time, and its first frame.

    It is a window that stays, mirrored or not, brighter or darker.
    """
    count, height, width, _ = part_thwc.shape
    first, last = int(begin * count), max(int(end * count) - LENGTH, int(begin * count))
    at = int(rng.integers(first, last + 1))
    side = int(min(height, width) * rng.uniform(0.6, 0.9))
    y, x = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
    window = part_thwc[at : at + LENGTH, y : y + side, x : x + side]
    sized = np.stack([np.asarray(Image.fromarray(f).resize((SIDE_PX, SIDE_PX), 2)) for f in window])
    if rng.random() < 0.5:
        sized = sized[:, :, ::-1]
    lit = (sized.astype(np.float32) - 128) * rng.uniform(0.7, 1.3) + 128 + rng.uniform(-30, 30)
    return at, lit.clip(0, 255).astype(np.uint8)


def judged(question: Path, encoders: dict[str, Backbone]) -> dict[str, Any]:
    """Accuracy of each on the test clips, and halves against each by a paired test."""
    labelled = read(question)
    logits: dict[str, np.ndarray] = {}
    for name, backbone in encoders.items():
        evaluator = Evaluator(labelled, backbone, 0)
        network = build(backbone)
        logits[name] = evaluator.evaluate(network).logits_nc
    found: dict[str, Any] = {"test": size(labelled.split("test")), "accuracy": {}, "gain": {}}
    for one, other in (
        ("random", "halves"), ("same moment", "halves"), ("imagenet", "halves"),
    ):  # fmt: skip
        pair = compared(evaluator, logits[one], logits[other])
        found["accuracy"] |= {one: pair["before"], other: pair["after"]}
        found["gain"][f"halves against {one}"] = {"p": pair["p"], **pair["difference"]}
    return found


def size(samples: Sequence[Sample]) -> dict[str, int]:
    """Clips, and groups of them that intervals are over."""
    return {"clips": len(samples), "groups": len({sample.group for sample in samples})}


def shares(pool: Path, settings: Settings, backbone: Backbone) -> dict[str, float]:
    """What of a step is decoding, copying and augmentation, in processor seconds throughout.

    Clips are decoded once, before the first step; that is spread over the steps of all epochs.
    """
    objective = ContrastiveClips(settings)
    job = pretraining_speed.job(read_unlabelled(pool).samples, backbone)
    with harness.fresh_cache():
        began = time.process_time()
        objective.footage(job).close()
        decoding_s = time.process_time() - began
    spent = pretraining_speed.shares(objective, job)
    steps = settings.epochs * spent["steps_an_epoch"]
    return {**spent, "decoding_s": decoding_s, "decoding": decoding_s / steps / spent["step_s"]}


MEMORY = """
import re, sys
from pathlib import Path
from regraft.dataset import read_unlabelled
from regraft.transfer.clips import canvas
pool = read_unlabelled(sys.argv[1], clip_s=6.0)
for sample in pool:
    canvas(sample, 8, 256)
# (What getrusage calls the peak is inherited from the process that began this one.)
status = Path("/proc/self/status").read_text()
print(len(pool), 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1]))
"""


def memory(root: Path) -> dict[str, object]:
    """Peak resident bytes of reading, cutting and decoding a minute and ten minutes."""
    street = frames_of(data.videos()["vtest"], 384)
    found: dict[str, object] = {}
    for minutes in (1, 10):
        folder = root / f"minutes-{minutes}"
        write(folder / "a.mp4", street, rate=10, count=600 * minutes)
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, str(folder)],
            capture_output=True, text=True, check=True,
            env={**os.environ, "REGRAFT_CACHE": str(root / f"cache-{minutes}")},
        )  # fmt: skip
        clips, peak = map(int, done.stdout.split())
        found[f"{minutes} min"] = {"clips": clips, "peak_bytes": peak}
    return found


def main() -> None:
    """Write results/video.json; progress goes to stderr."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="few clips, to see that it runs")
    parser.add_argument("--folder", type=Path, help="keep the work there, and go on from it")
    parser.add_argument("--only", choices=("memory", "shares"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root, found = asked.folder or Path(scratch), dict[str, Any]()
        if asked.only != "memory":
            found |= learnt(root, asked)
        if asked.only != "shares":
            found["memory"] = memory(root)
    harness.save("video" + (f"-{asked.only}" if asked.only else ""), figures(found), found)


def figures(found: dict[str, Any]) -> list[Figure]:
    """What is said of it."""
    shown: list[Figure] = []
    for name in ("halves", "same moment"):
        if name in found:
            one = found[name]
            note = f"{one['clips']} clips, batch {one['batch']}, {one['epochs']} epochs"
            shown.append(Figure(f"pre-training on {name}", one["steps"], "steps", note=note))
    for question in ("scene", "direction"):
        one = found.get(question, {"accuracy": {}, "gain": {}})
        shown += [
            share(f"{question}: {name}", metric, one["test"])
            for name, metric in one["accuracy"].items()
        ]
        for name, gap in one["gain"].items():
            note = f"{100 * gap['low']:+.1f} to {100 * gap['high']:+.1f}, p = {gap['p']:.3f}"
            shown.append(Figure(f"{question}: {name}", 100 * gap["value"], "points", note=note))
    for name in ("halves", "imagenet"):
        ladder = found.get(f"direction, ladder from {name}")
        if ladder:
            what = f"direction: ladder from {name}, kept: {ladder['best']}"
            shown.append(share(what, ladder["test"], ladder["size"]))
    if "shares" in found:
        spent = found["shares"]
        parts = ("decoding", "copying", "augmentation")
        value = 100 * sum(spent[part] for part in parts)
        note = ", ".join(f"{part} {100 * spent[part]:.1f} %" for part in parts)
        note += f", of a step of {spent['step_s']:.2f} processor seconds"
        what = "decoding (over all epochs), copying and augmentation"
        shown.append(Figure(what, value, "% of a step", "≤ 30", note))
    if "memory" in found:
        short, long = (found["memory"][f"{minutes} min"]["peak_bytes"] for minutes in (1, 10))
        note = f"{short / 2**20:.0f} MB and {long / 2**20:.0f} MB"
        shown.append(Figure("memory, ten minutes over one", long / short, "×", "≤ 1.1", note))
    return shown


def share(what: str, metric: dict[str, Any], size: dict[str, int]) -> Figure:
    """A score on test clips, with its interval and what it rests on."""
    note = (
        f"{100 * metric['low']:.1f} to {100 * metric['high']:.1f} on {size['clips']} test clips in "
        f"{size['groups']} groups"
    )
    return Figure(what, 100 * metric["value"], "%", note=note)


def learnt(root: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Everything about pre-training."""
    scene, direction, pool = cuts(root, QUICK if asked.quick else COUNTS)
    settings = Settings(
        batch=BATCH, epochs=asked.epochs, size_px=asked.size, frames=asked.frames, bf16=True
    )
    start = ContrastiveClips(settings).sized(
        open_backbone(f"video:{asked.frames}:random:resnet10t")
    )
    found: dict[str, Any] = {"shares": shares(pool, settings, start)}
    say(found)
    if asked.only:
        return found
    encoders = {"random": start}
    for name, pairs in (("halves", "halves"), ("same moment", "same-moment")):
        run = root / pairs
        done = pretrain(
            pool, run, backbone="random:resnet10t",
            settings=Settings(**{**settings.__dict__, "pairs": pairs}),
        )  # fmt: skip
        encoders[name] = open_backbone(str(run))
        report = done.report
        found[name] = {
            "clips": report["data"]["samples"], "batch": settings.batch, "epochs": settings.epochs,
            "steps": report["steps"], "seconds": report["seconds"],
            "throughput": report["throughput"], "last": report["curves"][-1],
        }  # fmt: skip
        say({name: found[name]})
    encoders["imagenet"] = open_backbone(f"video:{asked.frames}:efficientnet-lite0")
    for question in (scene, direction):
        found[question.stem] = judged(question, encoders)
        say({question.stem: found[question.stem]})
    for name in ("halves", "imagenet"):
        fitted = regraft.fit(
            direction, root / f"fit-{name}", train="last:1",
            backbone=str(root / "halves") if name == "halves" else None,
            frames=None if name == "halves" else asked.frames,
        )  # fmt: skip
        found[f"direction, ladder from {name}"] = {
            "rungs": {r["name"]: [r["metric"], r["verdict"]] for r in fitted.report["rungs"]},
            "best": fitted.report["best"],
            "test": fitted.report["test"],
            "size": found["direction"]["test"],
        }
        say(found[f"direction, ladder from {name}"])
    return found


def say(found: object) -> None:
    """Progress."""
    print(json.dumps(found), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
