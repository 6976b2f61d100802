"""Detectors of the DETR family, as transformers builds them, taken apart into stages.

They end before the last prediction layers: what the head takes are vectors, each an object or none
(queries), and what its boxes are refined from.

Decisions:

- The layers are transformers' own; what is written here is what its `forward` does between them,
  as it is in eval mode: no denoising queries, and of several groups of queries the first.
- What several decoder layers share there (the embedding of box positions) each stage has for
  itself, because a tensor belongs to one stage. That is the same until it is trained.
- Nothing is detached. The authors detach boxes from layer to layer, because each layer has losses
  of its own; here there is one loss, at the end, and what leads to it should learn from it.
- Stages share memory with the network that they are made from; whoever wants stages of their own
  copies them.

Sources: YOLOS (Fang et al. 2021, arXiv:2106.00666), RT-DETRv2 (Lv et al. 2024, arXiv:2407.17140),
D-FINE (Peng et al. 2024, arXiv:2410.13842), RF-DETR (Robinson et al. 2025, arXiv:2511.09554).

Shapes: b pictures, q queries, d width, l places of all maps, t tokens, w windows; boxes are
centre, width and height in shares of the input (4).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

Named = list[tuple[str, nn.Module]]
"""Stages in order."""

ANCHOR_SIDE = 0.05
"""Of the boxes that proposals start from on the finest map, as a share of the input."""
ANCHOR_EDGE = 0.01
"""Such a box is none if it comes nearer to the edge of the input."""


def stages_of(family: str, model: Any, size_px: int) -> Named:
    """The stages of a network.

    Args:
        family: "yolos", "rt_detr_v2", "d_fine" or "rf_detr".
        model: transformers' network for object detection.
        size_px: side of its input.
    """
    if family == "yolos":
        return _yolos(model.vit, size_px)
    if family == "rf_detr":
        return _rf_detr(model.model, size_px)
    return _rt_detr(family, model.model)


def whole_of(family: str, model: Any) -> nn.Module:
    """Pictures (b, 3, h, w) to queries (b, q, d), as transformers' own `forward` has it."""
    return Whole(family, model)


class Whole(nn.Module):
    """See `whole_of`."""

    def __init__(self, family: str, model: Any) -> None:
        super().__init__()
        self.family = family
        self.model = model

    def forward(self, x_bchw: Tensor) -> Tensor:
        """See `whole_of`."""
        if self.family == "yolos":
            queries = self.model.config.num_detection_tokens
            return self.model.vit(x_bchw).last_hidden_state[:, -queries:]
        found = self.model.model(x_bchw)
        if self.family == "d_fine":
            return found.intermediate_hidden_states[self.model.model.decoder.eval_idx]
        return found.last_hidden_state


def source_head(family: str, model: Any) -> dict[str, Tensor]:
    """The last prediction layers: tensors of "scores", "boxes" and, of D-FINE, "quality"."""
    if family == "yolos":
        parts = {"scores": model.class_labels_classifier, "boxes": model.bbox_predictor}
    elif family == "rf_detr":
        parts = {"scores": model.class_embed, "boxes": model.bbox_embed}
    else:
        decoder = model.model.decoder
        last = decoder.eval_idx if family == "d_fine" else -1
        parts = {"scores": decoder.class_embed[last], "boxes": decoder.bbox_embed[last]}
        if family == "d_fine":
            parts["quality"] = decoder.lqe_layers[last]
    return {
        f"{part}.{name}": tensor.detach()
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
    }


class Trunk(nn.Module):
    """A step of a network whose later parts need several maps.

    Args:
        step: takes the last of the maps that come.
        keep: which of them are handed on before what it gives.
    """

    def __init__(self, step: nn.Module, keep: tuple[int, ...]) -> None:
        super().__init__()
        self.step = step
        self.keep = keep

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        return (*(maps[i] for i in self.keep), self.step(maps[-1]))


def _trunk(steps: Sequence[tuple[str, nn.Module]], wanted: Sequence[int]) -> Named:
    """Steps up to the last of those whose maps are wanted; what flows out are these."""
    found: Named = []
    held: list[int] = []
    for at, (name, step) in enumerate(steps[: max(wanted) + 1]):
        keep = tuple(i for i, which in enumerate(held) if which in wanted)
        found.append((name, Trunk(step, keep)))
        held = [*(held[i] for i in keep), at]
    return found


def _wanted(backbone: Any) -> list[int]:
    """Which steps' maps a backbone gives; 0 is the stem."""
    return [backbone.stage_names.index(name) for name in backbone.out_features]


def _level(maps: Sequence[Tensor]) -> tuple[Tensor, list[tuple[int, int]]]:
    """Maps (b, d, h, w) as places (b, l, d), and their heights and widths."""
    places = torch.cat([x.flatten(2).transpose(1, 2) for x in maps], dim=1)
    return places, [(x.shape[2], x.shape[3]) for x in maps]


def _picked(x_bln: Tensor, at_bq: Tensor) -> Tensor:
    return x_bln.gather(1, at_bq.unsqueeze(-1).expand(-1, -1, x_bln.shape[-1]))


# YOLOS ---------------------------------------------------------------------------------------


class YolosLayer(nn.Module):
    """A layer of the encoder, (b, t, d) to the same, and positions that are added behind it."""

    def __init__(self, layer: nn.Module, position: nn.Parameter | None, resize: Any, size_px: int):
        super().__init__()
        self.layer = layer
        self.position = position
        self.resize = resize
        self.size_px = size_px

    def forward(self, x_btd: Tensor) -> Tensor:
        """See the class."""
        x_btd = self.layer(x_btd)
        if self.position is None:
            return x_btd
        return x_btd + self.resize(self.position, (self.size_px, self.size_px))


class YolosLast(nn.Module):
    """The last layer and the norm behind it: (b, t, d) to queries (b, q, d)."""

    def __init__(self, layer: nn.Module, norm: nn.Module, queries: int) -> None:
        super().__init__()
        self.layer = layer
        self.norm = norm
        self.queries = queries

    def forward(self, x_btd: Tensor) -> Tensor:
        """See the class."""
        return self.norm(self.layer(x_btd))[:, -self.queries :]


def _yolos(vit: Any, size_px: int) -> Named:
    *layers, last = vit.encoder.layer
    resize, middle = vit.embeddings.interpolation, vit.encoder.interpolation
    found: Named = [("embeddings", vit.embeddings)]
    for i, layer in enumerate(layers):
        # A part of the whole tensor, in the same memory.
        position = nn.Parameter(middle.mid_position_embeddings.data[i]) if middle else None
        found.append((f"layer.{i}", YolosLayer(layer, position, resize, size_px)))
    queries = vit.config.num_detection_tokens
    return [*found, (f"layer.{len(layers)}", YolosLast(last, vit.layernorm, queries))]


# RT-DETRv2 and D-FINE --------------------------------------------------------------------------


class HybridEncoder(nn.Module):
    """Maps of the backbone to as many maps of one width, each with what the others see."""

    def __init__(self, entries: nn.ModuleList, encoder: nn.Module) -> None:
        super().__init__()
        self.entries = entries
        self.encoder = encoder

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        narrow = [entry(x) for entry, x in zip(self.entries, maps, strict=True)]
        return tuple(self.encoder(narrow).last_hidden_state)


class Proposals(nn.Module):
    """The places that look most like an object become queries.

    Gives queries (b, q, d), their boxes (b, q, 4) and the maps (b, d, h, w) that the decoder looks
    at.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.entries = model.decoder_input_proj
        self.output = model.enc_output
        self.scores = model.enc_score_head
        self.boxes = model.enc_bbox_head
        self.learnt = model.weight_embedding if model.config.learn_initial_query else None
        self.queries = model.config.num_queries

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        given = [*maps, *[maps[-1]] * (len(self.entries) - len(maps))]
        seen = [entry(x) for entry, x in zip(self.entries, given, strict=True)]
        places_bld, sizes = _level(seen)
        anchors_1l4, is_one_1l1 = anchors(sizes, places_bld)
        memory_bld = self.output(is_one_1l1.to(places_bld.dtype) * places_bld)
        boxes_bl4 = self.boxes(memory_bld) + anchors_1l4
        best_bq = self.scores(memory_bld).max(-1).values.topk(self.queries, dim=1).indices
        if self.learnt is None:
            queries_bqd = _picked(memory_bld, best_bq)
        else:
            # A copy: what is itself a parameter asks for gradients even where none are wanted.
            queries_bqd = self.learnt.weight.repeat(memory_bld.shape[0], 1, 1)
        return queries_bqd, _picked(boxes_bl4, best_bq).sigmoid(), *seen


def anchors(sizes: Sequence[tuple[int, int]], like: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes around every place before the sigmoid, (1, l, 4), and which may be one, (1, l, 1).

    Args:
        sizes: heights and widths of the maps, the finest first.
        like: of the type and on the device that they should be.
    """
    found = [grid_boxes(height, width, n, like) for n, (height, width) in enumerate(sizes)]
    boxes_1l4 = torch.cat(found, dim=1)
    is_one_1l1 = fits(boxes_1l4)
    most = torch.full((), torch.finfo(like.dtype).max, dtype=like.dtype, device=like.device)
    logits_1l4 = torch.log(boxes_1l4 / (1 - boxes_1l4))
    return torch.where(is_one_1l1, logits_1l4, most), is_one_1l1


def grid_boxes(height: int, width: int, level: int, like: Tensor) -> Tensor:
    """A box around every place of a map, (1, l, 4); twice as large on each coarser level."""
    y, x = (
        torch.arange(length, dtype=like.dtype, device=like.device) for length in (height, width)
    )
    y, x = torch.meshgrid(y, x, indexing="ij")
    middle_hw2 = torch.stack(((x + 0.5) / width, (y + 0.5) / height), dim=-1)
    side_hw2 = torch.ones_like(middle_hw2) * ANCHOR_SIDE * (2.0**level)
    return torch.cat((middle_hw2, side_hw2), dim=-1).reshape(1, -1, 4)


def fits(boxes_1l4: Tensor) -> Tensor:
    """Bool (1, l, 1): whether a box is one that proposals may start from."""
    within_1l4 = (boxes_1l4 > ANCHOR_EDGE) & (boxes_1l4 < 1 - ANCHOR_EDGE)
    return within_1l4.all(-1, keepdim=True)


def inverse_sigmoid(x: Tensor) -> Tensor:
    """Of shares, kept away from 0 and 1."""
    x = x.clamp(min=0, max=1)
    return torch.log(x.clamp(min=1e-5) / (1 - x).clamp(min=1e-5))


class RTDetrLayer(nn.Module):
    """A layer of the decoder.

    Args:
        layer: transformers' own.
        positions: boxes to what is added to queries.
        refine: queries to a step of their boxes; None in the last layer, where the head does that.
    """

    def __init__(self, layer: nn.Module, positions: nn.Module, refine: nn.Module | None) -> None:
        super().__init__()
        self.layer = layer
        self.positions = positions
        self.refine = refine

    def forward(self, queries_bqd: Tensor, boxes_bq4: Tensor, *maps: Tensor) -> tuple[Tensor, ...]:
        """Queries, their boxes and the maps, to the same; the last layer gives no maps."""
        places_bld, sizes = _level(maps)
        queries_bqd = self.layer(
            queries_bqd,
            object_queries_position_embeddings=self.positions(boxes_bq4),
            encoder_hidden_states=places_bld,
            reference_points=boxes_bq4.unsqueeze(2),
            spatial_shapes=torch.tensor(sizes, device=places_bld.device),
            spatial_shapes_list=sizes,
        )
        if self.refine is None:
            return queries_bqd, boxes_bq4
        boxes_bq4 = (self.refine(queries_bqd) + inverse_sigmoid(boxes_bq4)).sigmoid()
        return queries_bqd, boxes_bq4, *maps


class DFineBoxes(nn.Module):
    """Distributions of the distances of edges, to boxes; nothing is learnt in it."""

    up_1: Tensor
    scale_1: Tensor

    def __init__(self, bins: int, up: float, scale: float) -> None:
        super().__init__()
        self.bins = bins
        self.register_buffer("up_1", torch.tensor([up]), persistent=False)
        self.register_buffer("scale_1", torch.tensor([scale]), persistent=False)

    def forward(self, first_bq4: Tensor, edges_bqe: Tensor) -> Tensor:
        """Boxes (b, q, 4), from the first guess and 4 (bins + 1) logits."""
        from transformers.models.d_fine.modeling_d_fine import distance2bbox, weighting_function

        scale: Any = self.scale_1
        steps = weighting_function(self.bins, self.up_1, scale)
        share = edges_bqe.reshape(-1, self.bins + 1).softmax(dim=1)
        distance_bq4 = nn.functional.linear(share, steps).reshape(*edges_bqe.shape[:2], 4)
        return distance2bbox(first_bq4, distance_bq4, scale)


class DFineLayer(nn.Module):
    """A layer of the decoder.

    What flows are queries (b, q, d), the logits of edge distances so far (b, q, 4 (bins + 1)), the
    first guess of the boxes and the boxes now, both (b, q, 4), and the maps. Into the first layer
    flow queries, boxes and maps alone. Out of the last flow queries, what the head's edges come
    from (b, q, d), the logits so far, and the first guess.

    Args:
        decoder: transformers' own.
        index: of the layer; the one at `decoder.eval_idx` is the last.
    """

    def __init__(self, decoder: Any, index: int) -> None:
        super().__init__()
        self.layer = decoder.layers[index]
        self.positions = decoder.query_pos_head
        self.guess = decoder.pre_bbox_head if index == 0 else None
        self.refine = None if index == decoder.eval_idx else decoder.bbox_embed[index]
        self.edges = 4 * (decoder.max_num_bins + 1)
        up, scale = (float(value.detach()) for value in (decoder.up, decoder.reg_scale))
        self.boxes = DFineBoxes(decoder.max_num_bins, up, scale)

    def forward(self, before_bqd: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        if self.guess is None:
            edges_bqe, first_bq4, boxes_bq4, *maps = rest
        else:
            boxes_bq4, *maps = rest
            edges_bqe = before_bqd.new_zeros(*before_bqd.shape[:2], self.edges)
            first_bq4 = boxes_bq4
        places_bld, sizes = _level(maps)
        queries_bqd = self.layer(
            before_bqd,
            position_embeddings=self.positions(boxes_bq4).clamp(min=-10, max=10),
            reference_points=boxes_bq4.unsqueeze(2),
            spatial_shapes=torch.tensor(sizes, device=places_bld.device),
            spatial_shapes_list=sizes,
            encoder_hidden_states=places_bld,
        )
        both_bqd = queries_bqd + before_bqd
        if self.guess is not None:
            first_bq4 = (self.guess(queries_bqd) + inverse_sigmoid(boxes_bq4)).sigmoid()
            both_bqd = queries_bqd
        if self.refine is None:
            return queries_bqd, both_bqd, edges_bqe, first_bq4
        edges_bqe = self.refine(both_bqd) + edges_bqe
        return queries_bqd, edges_bqe, first_bq4, self.boxes(first_bq4, edges_bqe), *maps


def _rt_detr(family: str, model: Any) -> Named:
    backbone, decoder = model.backbone.model, model.decoder
    steps = [("stem", backbone.embedder)]
    steps += [(f"stage.{i}", stage) for i, stage in enumerate(backbone.encoder.stages)]
    found = _trunk(steps, _wanted(backbone))
    found.append(("encoder", HybridEncoder(model.encoder_input_proj, model.encoder)))
    found.append(("proposals", Proposals(model)))
    if family == "d_fine":
        layers = [DFineLayer(decoder, i) for i in range(decoder.eval_idx + 1)]
    else:
        refine = [*decoder.bbox_embed[:-1], None]
        layers = [
            RTDetrLayer(layer, decoder.query_pos_head, step)
            for layer, step in zip(decoder.layers, refine, strict=True)
        ]
    return [*found, *((f"decoder.{i}", layer) for i, layer in enumerate(layers))]


# RF-DETR ---------------------------------------------------------------------------------------


class Windowed(nn.Module):
    """A step that has a picture's windows as samples, (b w, t, d); here they are (b, w, t, d)."""

    def __init__(self, step: nn.Module, windows: int, is_first: bool = False) -> None:
        super().__init__()
        self.step = step
        self.windows = windows
        self.is_first = is_first

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (b, 3, h, w) into the first step, windows into the others."""
        x = self.step(x if self.is_first else x.flatten(0, 1))
        return x.unflatten(0, (-1, self.windows))


class Projector(nn.Module):
    """Windows of several layers, (b, w, t, d) each, to one map (b, d, h, w)."""

    def __init__(self, model: Any, size_px: int) -> None:
        super().__init__()
        backbone = model.backbone.backbone
        self.side = size_px // backbone.config.patch_size // backbone.config.num_windows
        self.norm = backbone.layernorm if backbone.config.apply_layernorm else nn.Identity()
        self.projector = model.backbone.projector
        self.windows = backbone.config.num_windows

    def forward(self, *layers: Tensor) -> Tensor:
        """See the class."""
        return self.projector(tuple(self._map(self.norm(x)) for x in layers))

    def _map(self, x_bwtd: Tensor) -> Tensor:
        x_bwtd = x_bwtd[:, :, 1:]  # without each window's own class token
        count, n, side = x_bwtd.shape[0], self.windows, self.side
        x = x_bwtd.reshape(count, n, n, side, side, -1).transpose(2, 3)
        return x.reshape(count, n * side, n * side, -1).permute(0, 3, 1, 2).contiguous()


class RfDetrProposals(nn.Module):
    """The places that look most like an object say where the learnt queries begin.

    Gives queries (b, q, d), what is added to them in each layer (b, q, d), their boxes (b, q, 4)
    and the map.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        config = model.config
        self.output, self.norm = model.enc_output[0], model.enc_output_norm[0]
        self.scores, self.boxes = model.enc_out_class_embed[0], model.enc_out_bbox_embed[0]
        self.positions = model.decoder.ref_point_head
        # The first group's, in the memory of the whole.
        self.steps_q4 = nn.Parameter(model.reference_point_embed.weight.data[: config.num_queries])
        self.queries_qd = nn.Parameter(model.query_feat.weight.data[: config.num_queries])

    def forward(self, map_bdhw: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        from transformers.models.rf_detr.modeling_rf_detr import (
            encode_sinusoidal_position_embedding,
            refine_bboxes,
        )

        places_bld, ((height, width),) = _level([map_bdhw])
        boxes_1l4 = grid_boxes(height, width, 0, places_bld)
        is_none_1l1 = ~fits(boxes_1l4)
        boxes_1l4 = boxes_1l4.masked_fill(is_none_1l1, 0.0)
        memory_bld = self.norm(self.output(places_bld.masked_fill(is_none_1l1, 0.0)))
        scores_blc = self.scores(memory_bld).masked_fill(is_none_1l1, float("-inf"))
        best_bq = scores_blc.max(-1)[0].topk(len(self.queries_qd), dim=1)[1]
        found_bq4 = _picked(refine_bboxes(boxes_1l4, self.boxes(memory_bld)), best_bq)
        count = map_bdhw.shape[0]
        boxes_bq4 = refine_bboxes(found_bq4, self.steps_q4.expand(count, -1, -1))
        width_d = self.queries_qd.shape[1]
        waves = encode_sinusoidal_position_embedding(boxes_bq4, num_pos_feats=width_d // 2)
        # A copy: what is itself a parameter asks for gradients even where none are wanted.
        queries_bqd = self.queries_qd.repeat(count, 1, 1)
        return queries_bqd, self.positions(waves), boxes_bq4, map_bdhw


class RfDetrLayer(nn.Module):
    """A layer of the decoder; boxes stay as they are until the head.

    Args:
        layer: transformers' own.
        norm: behind the last layer; None in the others.
    """

    def __init__(self, layer: Any, norm: nn.Module | None) -> None:
        super().__init__()
        self.layer = layer
        self.norm = norm
        # In training it would take the queries for several groups of them.
        config = copy.copy(layer.self_attn.config)
        config.group_detr = 1
        layer.self_attn.config = config

    def forward(
        self, queries_bqd: Tensor, added_bqd: Tensor, boxes_bq4: Tensor, map_bdhw: Tensor
    ) -> tuple[Tensor, ...]:
        """All four, to the same; the last layer gives queries and boxes alone."""
        places_bld, sizes = _level([map_bdhw])
        queries_bqd = self.layer(
            queries_bqd,
            encoder_hidden_states=places_bld,
            position_embeddings=added_bqd,
            reference_points=boxes_bq4[:, :, None],
            spatial_shapes=torch.tensor(sizes, device=places_bld.device),
            spatial_shapes_list=sizes,
        )
        if self.norm is None:
            return queries_bqd, added_bqd, boxes_bq4, map_bdhw
        return self.norm(queries_bqd), boxes_bq4


def _rf_detr(model: Any, size_px: int) -> Named:
    backbone, decoder = model.backbone.backbone, model.decoder
    windows = backbone.config.num_windows**2
    steps = [("embeddings", Windowed(backbone.embeddings, windows, is_first=True))]
    steps += [
        (f"layer.{i}", Windowed(layer, windows)) for i, layer in enumerate(backbone.encoder.layer)
    ]
    found = _trunk(steps, _wanted(backbone))
    found.append(("projector", Projector(model, size_px)))
    found.append(("proposals", RfDetrProposals(model)))
    norms = [*[None] * (len(decoder.layers) - 1), decoder.layernorm]
    return [
        *found,
        *(
            (f"decoder.{i}", RfDetrLayer(layer, norm))
            for i, (layer, norm) in enumerate(zip(decoder.layers, norms, strict=True))
        ),
    ]
