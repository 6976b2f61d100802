"""Masked-language steps: ours against transformers' run_mlm recipe, in two of its forms.

python -m bench.masked_speed [--steps 8] [--turns 3]   (needs transformers)

Same network (MiniLM-L6 with the same head), same texts (German manual pages), windows of 256
tokens, 2,048 places a step, the same machine; the sides take turns. What is compared are tokens of
text, padding not counted, per second of processor time and by the clock.

- As shipped: lines joined and cut into full windows, `DataCollatorForLanguageModeling`, logits and
  loss at every place, float32, AdamW (fused, as its Trainer has it by default), clipping at 1.
- Line by line: `--line_by_line --pad_to_max_length`, each line a sequence, padded to 256.

Then the loss: both start from the same weights, see as many tokens, and are measured on the same
hidden words, which neither has seen. Theirs joins texts with no border between them and has dropout
(0.1); ours has neither, and computes products in bfloat16 where the processor is faster so.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench import harness, manual_pages
from bench.harness import Figure
from regraft.backbones import open_backbone, text_models
from regraft.backbones.text_encoder import HEAD, Shape
from regraft.backbones.text_families import renamed
from regraft.events import silent
from regraft.pretraining import Job, MaskedSettings
from regraft.pretraining.masked_language import Cloze, MaskedLanguage
from regraft.store import Outcome
from regraft.transfer import loop
from regraft.transfer.heap import memory_kept

LENGTH, PLACES, RATE = 256, 2048, 5e-5


@dataclass
class Took:
    """Of some steps."""

    tokens: int
    clock_s: float
    processor_s: float


def opened(samples, seed: int, batches: int) -> Cloze:
    """Ours, with a head that was trained on so many batches."""

    def memo(name: str, compute) -> Outcome:
        return Outcome({"batches": batches}) if name == "head-plan" else compute()

    settings = MaskedSettings(batch=PLACES, piece=PLACES, learning_rate=RATE)
    job = Job(open_backbone("minilm-l6"), 0, samples, seed, memo, None, False, silent)
    return MaskedLanguage(settings).open(job)


def ours(learner: Cloze, steps: range) -> Took:
    """Steps of ours."""
    optimiser = loop.make_optimiser(learner)
    clock, processor, tokens = time.perf_counter(), time.process_time(), 0
    with memory_kept():  # as the loop does
        for step in steps:
            loop.take(learner, optimiser, step, 1000)
            tokens += learner.amount(step)
    return Took(tokens, time.perf_counter() - clock, time.process_time() - processor)


def model_of(learner: Cloze):
    """Their network with our weights, and their tokenizer."""
    from safetensors.torch import load_file
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    folder = text_models.minilm_folder()
    config = BertConfig.from_pretrained(folder)
    model = BertForMaskedLM(config)
    own = {f"bert.{n}": t for n, t in load_file(folder / "model.safetensors").items()}
    head = {n.removeprefix(HEAD): p.detach() for n, p in learner.extras().items()}
    start = "cls.predictions."
    own |= {
        f"{start}transform.dense.weight": head["dense.weight"],
        f"{start}transform.dense.bias": head["dense.bias"],
        f"{start}transform.LayerNorm.weight": head["norm.weight"],
        f"{start}transform.LayerNorm.bias": head["norm.bias"],
        f"{start}bias": head["bias"],
    }
    model.load_state_dict(own, strict=False)
    model.tie_weights()
    names = ("mask", "pad", "cls", "sep", "unk")
    marks = {f"{name}_token": f"[{name.upper()}]" for name in names}
    file = str(folder / "tokenizer.json")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=file, model_max_length=512, **marks)
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    return model.train(), tokenizer


def batches(texts: list[str], tokenizer, line_by_line: bool, seed: int) -> Iterator[dict]:
    """What their Trainer hands to the model, for ever."""
    from transformers import DataCollatorForLanguageModeling

    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    if line_by_line:
        given = tokenizer(lines, padding="max_length", truncation=True, max_length=LENGTH,
                          return_special_tokens_mask=True)  # fmt: skip
        rows = [{k: given[k][i] for k in given} for i in range(len(lines))]
    else:
        ids = [n for part in tokenizer(lines)["input_ids"] for n in part]
        rows = [{"input_ids": ids[i : i + LENGTH]} for i in range(0, len(ids) - LENGTH, LENGTH)]
    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    rng = np.random.default_rng(seed)
    while True:
        for some in np.array_split(rng.permutation(len(rows)), len(rows) * LENGTH // PLACES):
            yield collate([rows[i] for i in some[: PLACES // LENGTH]])


def theirs(model, optimiser, given: Iterator[dict], steps: range) -> Took:
    """Steps of theirs."""
    clock, processor, tokens = time.perf_counter(), time.process_time(), 0
    for step in steps:
        batch = next(given)
        loop.set_rates(optimiser, step, 1000)
        optimiser.zero_grad()
        loss = model(**{k: v for k, v in batch.items() if k != "special_tokens_mask"}).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        mask = batch.get("attention_mask")
        tokens += int(mask.sum()) if mask is not None else batch["input_ids"].numel()
    return Took(tokens, time.perf_counter() - clock, time.process_time() - processor)


def optimiser_of(model):
    """Their Trainer's, with the rate that `set_rates` wants."""
    groups = [{"params": list(model.parameters()), "lr": RATE, "highest": RATE}]
    return torch.optim.AdamW(groups, fused=True, weight_decay=0.0)


def measured(learner: Cloze, model) -> float:
    """Held-out loss of their network, by our measure."""
    options: dict = dict(learner.cut.backbone.recipe.options)
    tokenizer = bytes(learner.network.tensors()["embeddings.tokenizer_json"].numpy())
    own = renamed(model.state_dict(), "bert", Shape(**options), tokenizer)
    learner.restore({name: own[name] for name in learner.state()})
    return learner.measure()["held_loss"]


def main() -> None:
    """Write results/masked_speed.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=200_000, help="for the losses")
    parser.add_argument("--pages", type=int, default=200)
    asked = parser.parse_args()
    files = sorted(Path(manual_pages.folder()).iterdir())
    some = files[:: max(1, len(files) // asked.pages)]
    from regraft.dataset import Sample

    samples = tuple(Sample(f.name, f.read_text(), None, group=f.name) for f in some)
    learner = opened(samples, 0, 20)
    texts = [str(s.source) for s in samples if s.id not in held_ids(learner, samples)]
    start = {name: tensor.detach().clone() for name, tensor in learner.state().items()}
    model, tokenizer = model_of(learner)
    optimiser = optimiser_of(model)
    feeds = {form: batches(texts, tokenizer, form == "line by line", 0)
             for form in ("as shipped", "line by line")}  # fmt: skip
    rates: dict[str, list[tuple[float, float]]] = {}
    for turn in range(-1, asked.turns):
        steps = range(max(0, turn) * asked.steps, (max(0, turn) + 1) * asked.steps)
        took = {form: theirs(model, optimiser, feed, steps) for form, feed in feeds.items()}
        took["regraft"] = ours(learner, steps)
        if turn >= 0:  # the first turn warms up
            for name, one in took.items():
                pair = (one.tokens / one.processor_s, one.tokens / one.clock_s)
                rates.setdefault(name, []).append(pair)
    learner.restore(start)
    begun = learner.measure()["held_loss"]
    losses = {"start": begun, **compared(learner, texts, asked.tokens)}
    figures = []
    for form, target in (("as shipped", "≥ 3"), ("line by line", "≥ 8")):
        for at, unit in ((0, "processor time"), (1, "the clock")):
            ratios = [us[at] / them[at]
                      for us, them in zip(rates["regraft"], rates[form], strict=True)]  # fmt: skip
            figures.append(Figure(f"tokens/s against run_mlm {form}, by {unit}",
                                  statistics.median(ratios), "×", target))  # fmt: skip
    note = f"start {begun:.3f}, theirs {losses['run_mlm']:.3f} after as many tokens"
    figures.append(Figure("held-out loss", losses["regraft"], "nats", note=note))
    harness.save("masked_speed", figures, {"rates": rates, "losses": losses, "bf16": learner._bf16})
    learner.close()


def held_ids(learner: Cloze, samples) -> set[str]:
    """Which samples are held out."""
    from regraft.pretraining.held import held_out

    return {sample.id for sample in held_out(samples, 0)[1]}


def compared(learner: Cloze, texts: list[str], tokens: int) -> dict[str, float]:
    """Held-out losses of both after so many tokens, from the same weights."""
    model, tokenizer = model_of(learner)
    steps = max(1, tokens // PLACES)
    optimiser = loop.make_optimiser(learner)
    for step in range(steps):
        loop.take(learner, optimiser, step, steps)
    found = {"regraft": learner.measure()["held_loss"]}
    given, optimiser = batches(texts, tokenizer, False, 1), optimiser_of(model)
    for step in range(steps):
        loop.set_rates(optimiser, step, steps)
        optimiser.zero_grad()
        loss = model(**next(given)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    found["run_mlm"] = measured(learner, model)
    print(json.dumps(found))
    return found


if __name__ == "__main__":
    main()
