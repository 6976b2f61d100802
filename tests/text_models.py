"""Small text encoders with random weights, in folders as their own library leaves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

V3: dict[str, Any] = {
    "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8,
    "norm_rel_ebd": "layer_norm", "share_att_key": True, "position_biased_input": False,
}  # fmt: skip
"""What makes a DeBERTa one of the third version."""


def tokenizer_json() -> str:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(96)), "[MASK]"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, "[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, ends)
    return tokenizer.to_str()


def save_model(family: str, folder: Path, **more: Any) -> Any:
    """A small encoder with random weights, saved as its own library saves it."""
    transformers = pytest.importorskip("transformers")
    from safetensors.torch import save_file

    size: dict[str, Any] = {"vocab_size": 101, "max_position_embeddings": 66}
    if family == "distilbert":
        size |= {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
    else:
        size |= {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
        size |= {"intermediate_size": 64, "pad_token_id": 1 if "roberta" in family else 0}
    if family == "modernbert":
        size |= {"bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}
    size |= more
    config = transformers.AutoConfig.for_model(family, **size)
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "rel_embeddings" in name or "LayerNorm" in name or "norm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)  # ones and zeros hide mistakes
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    (folder / "tokenizer.json").write_text(tokenizer_json())
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors"
    )
    return model


def save_pooling(folder: Path, said: Any) -> None:
    """What sentence-transformers says beside an encoder of how its tokens are pooled."""
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(said))
