"""Detectors as transformers saves them: the same outputs, cut into stages, refused where wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from detector_models import FAMILIES, NAMES, SIZE_PX, save_detector

from regraft.backbones import (
    Backbone,
    check_backbone,
    convert,
    query_stages,
    transformers_detectors,
)
from regraft.backbones.network import build
from regraft.errors import BackboneError, MissingExtra
from regraft.seeds import generator
from regraft.tasks import Detection
from regraft.tasks.family import family_of

Saved = tuple[str, Any, Backbone]


@pytest.fixture(scope="module", params=FAMILIES)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """A family, transformers' own network and ours."""
    folder = tmp_path_factory.mktemp(request.param)
    model = save_detector(request.param, folder)
    return request.param, model, convert(f"transformers:{folder}")


def pictures(count: int = 3) -> torch.Tensor:
    noise = generator(0, "pictures").integers(0, 256, (count, SIZE_PX, SIZE_PX, 3))
    return torch.from_numpy(noise.astype("uint8"))


def task_of(backbone: Backbone, classes: tuple[str, ...] = NAMES) -> Detection:
    assert backbone.detector is not None
    return Detection(classes, backbone.detector, SIZE_PX, tuple(0.5 for _ in classes))


def test_the_stages_keep_the_contract(saved: Saved) -> None:
    """Among it: composed they are the whole to the bit, no cut leaks, and a round trip is exact."""
    _, _, backbone = saved
    assert check_backbone(backbone)
    assert backbone.pictures.size_px == SIZE_PX
    assert backbone.detector and backbone.detector.categories == NAMES


def test_with_its_own_head_it_gives_what_transformers_gives(saved: Saved) -> None:
    _, model, backbone = saved
    network, head = build(backbone), task_of(backbone).head(backbone, 0).eval()
    with torch.inference_mode():
        x_bchw = network.entry(pictures())
        theirs = model(x_bchw)
        logits_bqc, boxes_bq4, *_ = head(*network.run((x_bchw,), 0, len(network.stages)))
    assert torch.equal(logits_bqc, theirs.logits)
    assert torch.equal(boxes_bq4, theirs.pred_boxes)
    assert boxes_bq4.std(dim=1).max() > 0.01  # they are not all one box


def test_known_categories_keep_their_rows_by_name(saved: Saved) -> None:
    family, model, backbone = saved
    task = task_of(backbone, ("Dog", "tree", "cat"))
    assert task.kept_rows == (2, -1, 0)
    network, head = build(backbone), task.head(backbone, 0).eval()
    with torch.inference_mode():
        x_bchw = network.entry(pictures())
        theirs = model(x_bchw).logits
        values = network.run((x_bchw,), 0, len(network.stages))
        ours = head(*values)[0]
    assert torch.equal(ours[..., 0], theirs[..., 2])
    assert torch.equal(ours[..., 2], theirs[..., 0])
    if family == "yolos":  # and what stands for "none" is as it was
        assert torch.equal(ours[..., 3], theirs[..., 3])
    # A tenth of twelve queries is the most that a new category is expected in.
    chance = ours.softmax(-1) if family == "yolos" else ours.sigmoid()
    assert chance[..., 1].median() < 0.3


def test_a_new_category_starts_as_likely_as_it_is_frequent(saved: Saved) -> None:
    family, _, backbone = saved
    task = task_of(backbone, ("tree", "house"))
    network, head = build(backbone), task.head(backbone, 0, pretrained=False).eval()
    with torch.inference_mode():
        x_bchw = network.entry(pictures())
        logits = head(*network.run((x_bchw,), 0, len(network.stages)))[0]
    chance = logits.softmax(-1)[..., :2] if family == "yolos" else logits.sigmoid()
    assert 0.5 < chance.mean() / (0.5 / 12) < 2
    assert task.head_parameters(backbone) == sum(p.numel() for p in head.parameters())


def test_boxes_are_told_as_transformers_tells_them(saved: Saved) -> None:
    """Against the library's own post-processing, all that is sure enough."""
    family, model, backbone = saved
    with torch.inference_mode():
        theirs = model(build(backbone).entry(pictures()))
    found = family_of(task_of(backbone).detector).decode(
        (theirs.logits, theirs.pred_boxes), task_of(backbone).detector, SIZE_PX
    )
    expected = post_processed(family, theirs)
    for (boxes_k4, labels_k, scores_k), one in zip(found, expected, strict=True):
        order = one["scores"].argsort(descending=True, stable=True)
        assert len(scores_k) == len(order)
        assert torch.allclose(torch.from_numpy(scores_k), one["scores"][order], atol=1e-6)
        assert torch.allclose(torch.from_numpy(boxes_k4), one["boxes"][order], atol=1e-3)
        assert torch.from_numpy(labels_k).tolist() == one["labels"][order].tolist()


def post_processed(family: str, outputs: Any) -> list[dict[str, torch.Tensor]]:
    import transformers

    sizes = torch.full((len(outputs.logits), 2), SIZE_PX)
    name = "YolosImageProcessor" if family == "yolos" else "RTDetrImageProcessor"
    processor = getattr(transformers, name)()
    return processor.post_process_object_detection(outputs, threshold=0.02, target_sizes=sizes)


# What is refused ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refused")
    save_detector("yolos", folder)
    return folder


def change(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def copied(folder: Path, tmp_path: Path) -> Path:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_another_kind_of_network_is_refused(folder: Path, tmp_path: Path) -> None:
    change(copied(folder, tmp_path), model_type="bert")
    with pytest.raises(BackboneError, match="no detector that is known here: 'bert'") as fault:
        convert(f"transformers:{tmp_path}")
    assert "rf_detr" in str(fault.value.mend)


def test_a_family_that_this_transformers_lacks_names_the_version(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(transformers_detectors.CLASSES, "yolos", "NotYet")
    with pytest.raises(MissingExtra, match=r"transformers .* has no yolos; 4\.20 has") as fault:
        convert(f"transformers:{folder}")
    assert "transformers>=4.20" in fault.value.mend


def test_stages_that_are_not_the_whole_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if another version did something else between its layers."""
    other = query_stages.YolosLast.forward
    monkeypatch.setattr(query_stages.YolosLast, "forward", lambda *given: other(*given) * 1.01)
    with pytest.raises(BackboneError, match="otherwise than is known here"):
        convert(f"transformers:{folder}")


def test_lacking_tensors_are_named(folder: Path, tmp_path: Path) -> None:
    change(copied(folder, tmp_path), num_hidden_layers=4)
    with pytest.raises(BackboneError, match=r"lack tensors .*layer\.3"):
        convert(f"transformers:{tmp_path}")


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_damaged_weights_are_refused(folder: Path, tmp_path: Path, damage: str) -> None:
    weights = copied(folder, tmp_path) / "model.safetensors"
    if damage == "gone":
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(BackboneError):
        convert(f"transformers:{tmp_path}")


def test_a_repository_that_is_not_here_names_the_command() -> None:
    with pytest.raises(BackboneError, match="not on this machine") as fault:
        convert("transformers:nobody/nothing")
    assert "regraft backbones pull transformers:nobody/nothing" in str(fault.value.mend)
