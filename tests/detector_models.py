"""Small detectors with random weights, in folders as transformers leaves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

FAMILIES = ("yolos", "rt_detr_v2", "d_fine", "rf_detr")
SIZE_PX = 64
NAMES = ("cat", "square", "dog")

_DECODER: dict[str, Any] = {
    "encoder_hidden_dim": 32, "encoder_in_channels": [16, 24, 32], "encoder_ffn_dim": 32,
    "encoder_attention_heads": 4, "decoder_in_channels": [32, 32, 32], "decoder_ffn_dim": 32,
    "decoder_attention_heads": 4, "decoder_layers": 2, "d_model": 32, "num_queries": 12,
    "decoder_n_points": 2, "hidden_expansion": 0.5,
}  # fmt: skip
_SIZES: dict[str, dict[str, Any]] = {
    "yolos": {
        "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
        "intermediate_size": 64, "image_size": [96, 48], "patch_size": 16,
        "num_detection_tokens": 12,
    },
    "rt_detr_v2": {
        **_DECODER,
        "backbone_config": {
            "model_type": "rt_detr_resnet", "embedding_size": 8, "hidden_sizes": [8, 16, 24, 32],
            "depths": [1, 1, 1, 1], "layer_type": "basic",
            "out_features": ["stage2", "stage3", "stage4"],
        },
    },
    "d_fine": {
        **_DECODER, "max_num_bins": 8, "lqe_hidden_dim": 8,
        "backbone_config": {
            "model_type": "hgnet_v2", "stem_channels": [3, 8, 8], "hidden_sizes": [8, 16, 24, 32],
            "embedding_size": 8, "depths": [1, 1, 1, 1], "stage_in_channels": [8, 8, 16, 24],
            "stage_mid_channels": [8, 8, 8, 8], "stage_out_channels": [8, 16, 24, 32],
            "stage_num_blocks": [1, 1, 1, 1], "stage_numb_of_layers": [1, 1, 1, 1],
            "out_features": ["stage2", "stage3", "stage4"],
        },
    },
    "rf_detr": {
        "d_model": 32, "decoder_layers": 2, "decoder_self_attention_heads": 4,
        "decoder_cross_attention_heads": 4, "decoder_ffn_dim": 32, "decoder_n_points": 2,
        "num_queries": 12, "group_detr": 3, "c2f_num_blocks": 1,
        "backbone_config": {
            "model_type": "rf_detr_dinov2", "hidden_size": 32, "num_hidden_layers": 3,
            "num_attention_heads": 4, "image_size": 64, "patch_size": 8, "num_windows": 2,
            "out_features": ["stage1", "stage2"],
        },
    },
}  # fmt: skip
_CLASSES = {
    "yolos": "YolosForObjectDetection",
    "rt_detr_v2": "RTDetrV2ForObjectDetection",
    "d_fine": "DFineForObjectDetection",
    "rf_detr": "RfDetrForObjectDetection",
}


def save_detector(family: str, folder: Path, **more: Any) -> Any:
    """A small detector with random weights, saved as its own library saves it."""
    transformers = pytest.importorskip("transformers")

    kind = getattr(transformers, _CLASSES[family])
    config = kind.config_class(
        **_SIZES[family] | more,
        id2label=dict(enumerate(NAMES)),
        label2id={name: i for i, name in enumerate(NAMES)},
    )
    torch.manual_seed(0)
    model = kind(config).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith(("reg_scale", "up", "n_points_scale", "points_scale")):
                continue
            if name.endswith("running_var"):
                tensor.mul_(1 + 0.3 * torch.rand_like(tensor))
            elif tensor.is_floating_point():  # zeros, and ones, hide mistakes
                tensor.add_(torch.randn_like(tensor) * 0.1)
    model.save_pretrained(folder)
    size = {"height": SIZE_PX, "width": SIZE_PX}
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": size}))
    return model
