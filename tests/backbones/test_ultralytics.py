"""Ultralytics' checkpoints: read without running them, the same outputs, refused where strange.

The networks are built from the library's own descriptions, with random weights. All but what needs
the library runs without it.
"""

from __future__ import annotations

import importlib.util
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_detection_fit import COUNTS, write_shapes

import regraft
from regraft.backbones import check_backbone, convert
from regraft.backbones.backbone import Recipe
from regraft.backbones.checkpoints import Inert, read_inert
from regraft.backbones.network import build
from regraft.backbones.ultralytics_models import PACKAGES, _checked, fresh
from regraft.errors import BackboneError, MissingExtra
from regraft.events import Event, Said
from regraft.seeds import generator
from regraft.tasks import Detection, check_task
from regraft.tasks.family import family_of
from regraft.tasks.task import Pace
from regraft.transfer.engine import prepare

needs_it = pytest.mark.skipif(
    importlib.util.find_spec("ultralytics") is None, reason="the extra ultralytics is not installed"
)
SIZE_PX = 64
MODELS = ("yolov8n", "yolo11n", "yolo12n", "yolov10n", "yolo26n")
WIDTH = 0.125
"""Of the smallest size is a quarter; half of that is enough here."""


def save_checkpoint(name: str, file: Path, **more: Any) -> Any:
    """A network of the library's own description, random weights, saved as `train` saves it."""
    from regraft.backbones.ultralytics_models import _library

    library = _library()
    network = library.yaml_model_load(f"{name}.yaml")
    network["nc"] = 3
    depth, _, channels = network["scales"]["n"]
    width = {"yolo12n": 0.25}.get(name, WIDTH)  # whose attention needs so many channels
    network["scales"] = {"n": [depth, width, channels]}
    torch.manual_seed(0)
    model = library.DetectionModel(network, ch=3, verbose=False).eval()
    model.names = {0: "cat", 1: "square", 2: "dog"}
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if key.endswith("running_var"):
                tensor.mul_(1 + 0.3 * torch.rand_like(tensor))
            elif tensor.is_floating_point() and "dfl" not in key:  # zeros, and ones, hide mistakes
                tensor.add_(torch.randn_like(tensor) * 0.05)
        for branch in model.model[-1].cv3:
            branch[-1].bias.fill_(-2.0)  # else nothing would be likely enough to be told
    content = {"model": model, "ema": None, "train_args": {"imgsz": SIZE_PX, "data": file}} | more
    torch.save(content, file)
    return model


@pytest.fixture(scope="module", params=MODELS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    file = tmp_path_factory.mktemp(request.param) / "best.pt"
    return save_checkpoint(request.param, file), convert(f"ultralytics:{file}")


def pictures(count: int = 2) -> torch.Tensor:
    noise = generator(0, "pictures").integers(0, 256, (count, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    return torch.from_numpy(noise)


@needs_it
def test_the_stages_keep_the_contract_and_give_what_the_library_gives(saved: Any) -> None:
    model, backbone = saved
    assert check_backbone(backbone)
    assert [stage.name for stage in backbone.stages][-2:] == ["neck", "towers"]
    assert backbone.licence == "AGPL-3.0"
    assert backbone.pictures.size_px == SIZE_PX
    detector = backbone.detector
    assert detector.categories == ("cat", "square", "dog")
    assert detector.strides_px == (8, 16, 32)
    task = Detection(("dog", "tree", "cat"), detector, SIZE_PX, (0.5,) * 3)
    network, head = build(backbone), task.head(backbone, 0).eval()
    with torch.inference_mode():
        x_bchw = network.entry(pictures())
        logits, edges = head(*network.run((x_bchw,), 0, len(network.stages)))
        raw = model(x_bchw)[1]
    raw = raw.get("one2many", raw)
    assert torch.equal(edges.flatten(2).transpose(1, 2), raw["boxes"])
    assert torch.equal(logits[..., 0], raw["scores"][:, 2])
    assert torch.equal(logits[..., 2], raw["scores"][:, 0])
    assert logits[..., 1].sigmoid().max() < 0.2


@needs_it
def test_boxes_are_where_the_library_puts_them(saved: Any) -> None:
    model, backbone = saved
    detect = model.model[-1]
    detect.end2end = False
    with torch.inference_mode():
        x_bchw = build(backbone).entry(pictures())
        decoded, raw = model(x_bchw)
    raw = raw.get("one2many", raw)
    edges = raw["boxes"].transpose(1, 2).unflatten(2, (4, -1))
    detector = backbone.detector
    found = family_of(detector).decode((raw["scores"].transpose(1, 2), edges), detector, SIZE_PX)
    for (boxes_k4, labels_k, scores_k), theirs in zip(found, decoded, strict=True):
        assert len(boxes_k4)
        middle, sides = theirs[:2].T, theirs[2:4].T
        edges_p4 = torch.cat((middle - sides / 2, middle + sides / 2), dim=1).numpy()
        for box, label, score in zip(boxes_k4[:20], labels_k, scores_k, strict=False):
            near = np.abs(edges_p4 - box).max(axis=1) + np.abs(theirs[4 + label].numpy() - score)
            assert near.min() < 1e-3


@needs_it
def test_the_task_keeps_the_contract(saved: Any) -> None:
    _, backbone = saved
    check_task(Detection(("cat", "tree"), backbone.detector, SIZE_PX, (0.5, 0.5)), backbone)


@needs_it
def test_the_compiled_form_serves_and_the_licence_is_said_first(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "best.pt"
    save_checkpoint("yolo11n", file)
    said: list[Event] = []
    with prepare(f"ultralytics:{file}", tell=said.append) as preparation:
        assert isinstance(said[0], Said) and "AGPL-3.0" in said[0].text
        backbone = preparation.backbone()
        stages = len(backbone.stages)
        engine = preparation.engine_for_pixels(stages, pictures().numpy())
        assert engine.name.startswith("openvino")


@needs_it
def test_a_fit_records_the_licence_in_model_and_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = Pace(batch=8, epochs=4, least_steps=20, most_steps=20, head_rate=1e-2)
    monkeypatch.setattr("regraft.tasks.paired.PACE", pace)
    save_checkpoint("yolo11n", tmp_path / "best.pt")
    data, backbone = write_shapes(tmp_path / "shapes"), f"ultralytics:{tmp_path / 'best.pt'}"
    fitted = regraft.fit(data, tmp_path / "run", backbone=backbone, train="head")
    assert fitted.report["backbone"]["licence"] == "AGPL-3.0"
    assert fitted.report["detection"]["source_rows"] == {"square": "square", "disc": None}
    model = fitted.folder / "model" / "model.json"
    assert '"AGPL-3.0"' in model.read_text()
    assert "AGPL-3.0" in (fitted.folder / "report.html").read_text()
    (tmp_path / "best.pt").unlink()
    assert len(regraft.predict(fitted.folder, [data / "test"])) == COUNTS["test"]


# What is refused ---------------------------------------------------------------------------------


class Poison:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.target,))


class Named:
    """Pickled under a name of one's choice."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> str:
        return self.name


def test_a_poisoned_checkpoint_executes_nothing(tmp_path: Path) -> None:
    file, touched = tmp_path / "best.pt", tmp_path / "touched"
    torch.save({"model": Poison(touched)}, file)
    with pytest.raises(BackboneError):
        convert(f"ultralytics:{file}")
    assert not touched.exists()
    torch.load(file, weights_only=False)  # the poison does work
    assert touched.exists()


def test_stand_ins_keep_their_state_and_run_nothing(tmp_path: Path) -> None:
    file = tmp_path / "best.pt"
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    torch.save({"model": module}, file)
    found = read_inert(file, PACKAGES)["model"]
    assert isinstance(found, Inert) and type(found).__name__ == "Sequential"
    weight = vars(vars(found)["_modules"]["0"])["_parameters"]["weight"]
    assert torch.equal(weight, module[0].weight)
    assert not hasattr(found, "forward")
    with pytest.raises(BackboneError, match=r"no place in a network: torch\.nn\.modules"):
        read_inert(file, ("ultralytics.",))


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps({"model": 1})])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "best.pt"
    file.write_bytes(content)
    with pytest.raises(BackboneError):
        convert(f"ultralytics:{file}")


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="no such file"):
        convert(f"ultralytics:{tmp_path / 'best.pt'}")


def test_another_network_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "best.pt"
    torch.save({"model": torch.nn.Sequential(torch.nn.Linear(2, 3))}, file)
    with pytest.raises(BackboneError, match="no checkpoint of a YOLO that finds objects"):
        convert(f"ultralytics:{file}")


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    monkeypatch.setitem(sys.modules, "ultralytics.nn.tasks", None)
    recipe = Recipe("ultralytics", "detect", (("network", json.dumps(PLAIN)),))
    with pytest.raises(MissingExtra) as fault:
        fresh(recipe)
    assert "regraft[ultralytics]" in fault.value.mend and "AGPL-3.0" in fault.value.mend


PLAIN: dict[str, Any] = {
    "nc": 2,
    "backbone": [[-1, 1, "Conv", [16, 3, 2]], [-1, 1, "Conv", [16, 3, 2]]],
    "head": [[[0, 1], 1, "Detect", ["nc"]]],
}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"activation": "__import__('os').system('true')"}, "activation"),
        ({"backbone": [[-1, 1, "torchvision.ops.misc", []]]}, "layer"),
        ({"backbone": [[-1, 1, "Conv", ["__import__('os')", 3]]]}, "layer"),
        ({"backbone": [[-1, 10**9, "Conv", [16, 3]]]}, "layer"),
        ({"backbone": [[-1, 1, "Conv", [10**9, 3]]]}, "layer"),
        ({"backbone": []}, "no list"),
        ({"head": [[-1, 1, "Segment", ["nc"]]]}, "layer"),
        ({"head": [[-1, 1, "Conv", [16, 3]]]}, "ends in Conv"),
        ({"nc": "eval"}, "nc is"),
        ({"nc": True}, "nc is"),
        ({"scales": {"n": ["x", 1, 1]}, "scale": "n"}, "scale"),
        ({"scales": {}, "scale": "n", "nc": 1.5}, "number of categories"),
    ],
)
def test_a_strange_description_is_refused(change: dict[str, Any], what: str) -> None:
    assert _checked(PLAIN, Path("a.pt"))["nc"] == 2
    with pytest.raises(BackboneError, match=what):
        _checked(PLAIN | change, Path("a.pt"))
    recipe = Recipe("ultralytics", "detect", (("network", json.dumps(PLAIN | change)),))
    with pytest.raises(BackboneError, match=what):
        fresh(recipe)  # of a model from somebody else
