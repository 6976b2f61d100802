"""Texts: embedding, a frozen encoder with a new head, and few labels, against the usual tools.

`throughput`: mails a second, in one process, taking turns: OpenVINO alone on length-sorted batches
of tokens that are there already; regraft's feature phase (tokens, batches, engine, cache on disk);
sentence-transformers' `encode` as it comes. All have the same MiniLM-L6 and the first 256 tokens
(regraft's default reads further windows).

`trainer`: `regraft fit --train head` as a whole process, against transformers' `Trainer` as a whole
process, the same encoder frozen, a linear layer on the mean of the tokens, ten epochs. Where
`--epochs` is less, the note says so, and seconds an epoch times ten stand in.

`few`: labels a class, drawn from a pool; accuracy on mails of other threads, each class counting
the same. regraft's ladder, TF-IDF with logistic regression, SetFit with the same encoder.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median, stdev

import numpy as np

from bench import harness, mails
from bench.harness import Figure

PARTS = ("throughput", "trainer", "few")
PLAIN = "windows:1:minilm-l6"
"""One window, and the vector of the last stage alone: what `encode` gives."""


# --- throughput -----------------------------------------------------------------------------------


def throughput(count: int, rounds: int) -> tuple[list[Figure], dict]:
    """Embedding speed; processor seconds beside seconds, for machines that are busy."""
    from sentence_transformers import SentenceTransformer

    from regraft.backbones import open_backbone
    from regraft.backbones.text_models import minilm_folder
    from regraft.dataset import Sample
    from regraft.store import digest
    from regraft.transfer.engine import prepare

    every = list(dict.fromkeys(mail.text for mail in mails.mails()))  # a copy is embedded once
    texts = [every[i] for i in np.linspace(0, len(every) - 1, min(count, len(every)), dtype=int)]
    samples = [Sample(str(i), text, 0, sha256=digest(text)) for i, text in enumerate(texts)]
    peer = SentenceTransformer(str(minilm_folder()), device="cpu")
    times: dict[str, list[tuple[float, float]]] = {"alone": [], "tokens": [], "ours": [], "st": []}
    with harness.fresh_cache(), prepare(open_backbone(PLAIN)) as preparation:
        backbone = preparation.backbone()
        engine = preparation.engine(len(backbone.stages), samples)
        assert engine.serving.batched
        graph = _alone(preparation, backbone, engine.precision)
        for _ in range(rounds):
            batches = _batches(_clocked(times["tokens"], _tokens, texts, backbone))
            graph(batches[-2:])
            _clocked(times["alone"], graph, batches)
            found = _clocked(times["ours"], _ours, samples, backbone, engine)
            theirs = _clocked(times["st"], peer.encode, texts)
        cosine = _cosines(found, np.asarray(theirs))
    return _throughput_figures(times, len(texts), cosine), {"times": times, "texts": len(texts)}


def _clocked(into: list[tuple[float, float]], work, *arguments):
    """What it gives back; its seconds and processor seconds go into the list."""
    cpu, wall = time.process_time(), time.perf_counter()
    value = work(*arguments)
    into.append((time.perf_counter() - wall, time.process_time() - cpu))
    return value


def _tokens(texts: Sequence[str], backbone) -> list[np.ndarray]:
    from regraft.transfer.tokens import token_ids

    return [token_ids(text, backbone)[: backbone.preprocessing.max_tokens] for text in texts]


def _batches(ids: list[np.ndarray], size: int = 32) -> list[np.ndarray]:
    """Sorted by length, 32 at a time, filled up: what people write."""
    from regraft.transfer.packing import stacked

    order = sorted(ids, key=lambda row: -len(row))
    return [stacked(order[start : start + size]) for start in range(0, len(order), size)]


def _alone(preparation, backbone, precision: str):
    """OpenVINO with nothing around it: several requests in turn, as its documentation has it."""
    from regraft.openvino_runtime import import_openvino
    from regraft.transfer.cut import Cut

    openvino = import_openvino()
    graph = preparation.compiled().graph(Cut(backbone, len(backbone.stages)))
    graph.reshape([-1, -1])
    hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": precision}
    compiled = openvino.Core().compile_model(graph, "CPU", hints)

    def run(batches: list[np.ndarray]) -> None:
        queue = openvino.AsyncInferQueue(compiled)
        for batch in batches:
            queue.start_async({0: batch})
        queue.wait_all()

    return run


def _ours(samples, backbone, engine) -> np.ndarray:
    """The feature phase as `fit` runs it, into a cache that has none of them."""
    from regraft.transfer.cut import Cut
    from regraft.transfer.features import features

    cache = Path(os.environ["REGRAFT_CACHE"])
    for path in cache.glob("features/*/*.rows"):
        path.unlink()
    table = features(samples, Cut(backbone, len(backbone.stages)), engine, storage="float32")
    assert table.computed == len(samples)
    return table.rows(np.arange(len(samples)))[0]


def _cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(axis=1) / norms


def _throughput_figures(times: dict, count: int, cosine: np.ndarray) -> list[Figure]:
    wall = {name: [pair[0] for pair in pairs] for name, pairs in times.items()}
    cpu = {name: [pair[1] for pair in pairs] for name, pairs in times.items()}
    rates = ", ".join(f"{name} {count / median(values):.0f}" for name, values in wall.items())
    share = 100 * median(wall["alone"]) / median(wall["ours"])
    both = [a + b for a, b in zip(wall["alone"], wall["tokens"], strict=True)]
    both_share = 100 * median(both) / median(wall["ours"])
    cpu_share = 100 * median(cpu["alone"]) / median(cpu["ours"])
    cpu_ratio = median(cpu["st"]) / median(cpu["ours"])
    return [
        Figure("feature phase, share of OpenVINO alone", share, "%", "≥ 85", f"mails/s: {rates}"),
        Figure("the same in processor seconds", cpu_share, "%"),
        Figure("share of tokens alone + OpenVINO alone", both_share, "%"),
        harness.ratio("sentence-transformers / feature phase", wall["st"], wall["ours"], "≥ 5"),
        Figure("the same in processor seconds", cpu_ratio, "×"),
        Figure("cosine of the vectors with theirs, minimum", float(cosine.min()), "", "≥ 0.999",
               f"median {np.median(cosine):.5f}"),
    ]  # fmt: skip


# --- the trainer ----------------------------------------------------------------------------------


def trainer(count: int, epochs: int, rounds: int) -> tuple[list[Figure], dict]:
    """Whole processes on the same split."""
    division = mails.divided()
    rng = np.random.default_rng(0)
    some = [division.pool[i] for i in rng.permutation(len(division.pool))[:count]]
    raw: dict[str, list] = {"cold": [], "compiled": [], "trainer": []}
    with harness.fresh_cache() as root:
        learn = mails.write(root / "learn.csv", some)
        valid = mails.write(root / "valid.csv", division.test)
        for turn in range(rounds):
            for state in ("cold", "compiled"):
                os.environ["REGRAFT_CACHE"] = str(root / f"cache-{turn}")
                for path in (root / f"cache-{turn}").glob("features/*/*.rows"):
                    path.unlink()
                out = root / f"run-{state}-{turn}"
                words = ["fit", learn, "--valid", valid, "--out", out, "--train", "head"]
                done = harness.run(harness.regraft(*words, "--max-bad", "0.1"))
                report = harness.report_of(out)
                took = {"seconds": done.seconds, "cpu_seconds": done.cpu_seconds}
                raw[state].append(took | report["rungs"][0]["metric"])
        command = harness.module("texts", "--as-trainer", learn, valid, "--epochs", str(epochs))
        done = harness.run(command)
        took = {"seconds": done.seconds, "cpu_seconds": done.cpu_seconds}
        raw["trainer"].append(took | json.loads(done.stdout.splitlines()[-1]))
    theirs = raw["trainer"][0]
    left = (10 - epochs) / epochs  # of what was run, as a share
    seconds = theirs["seconds"] + left * theirs["train_seconds"]
    cpu_seconds = theirs["cpu_seconds"] + left * theirs["train_cpu_seconds"]
    note = "ten epochs" if epochs == 10 else f"{epochs} epochs run; ten by seconds an epoch"
    figures = []
    for state in ("cold", "compiled"):
        what = f"Trainer, encoder frozen / fit --train head, {state}"
        for unit, key, whole in (
            ("the clock", "seconds", seconds), ("processors", "cpu_seconds", cpu_seconds),
        ):  # fmt: skip
            ours = median(row[key] for row in raw[state])
            said = f"{note}; {whole:.0f} s against {ours:.0f} s"
            figures.append(Figure(f"{what}, by {unit}", whole / ours, "×", "≥ 20", said))
    ours, metric = raw["cold"][0]["value"], raw["cold"][0]["name"]
    figures.append(
        Figure(f"{metric} of fit less that of Trainer", 100 * (ours - theirs[metric]), "points",
               "≥ 0" if epochs == 10 else "", f"{ours:.1%} against {theirs[metric]:.1%}")
    )  # fmt: skip
    return figures, raw


def as_trainer(learn: Path, valid: Path, epochs: int) -> None:
    """What people write with transformers; prints a JSON line."""
    import torch
    from torch import nn
    from transformers import AutoModel, AutoTokenizer, Trainer, TrainingArguments

    from regraft.backbones.text_models import minilm_folder

    folder = minilm_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = AutoModel.from_pretrained(folder)
            self.encoder.requires_grad_(False)
            self.head = nn.Linear(self.encoder.config.hidden_size, 2)

        def forward(self, input_ids, attention_mask, labels=None):
            states = self.encoder(input_ids, attention_mask=attention_mask).last_hidden_state
            weight = attention_mask[:, :, None].to(states.dtype)
            logits = self.head((states * weight).sum(1) / weight.sum(1))
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    def rows(path: Path) -> list[dict]:
        from regraft.dataset.table import read_table

        table = read_table(path)
        given = tokenizer(table.texts("text"), truncation=True, max_length=256)
        labels = [mails.LABELS.index(name) for name in table.texts("label")]
        return [
            {"input_ids": i, "attention_mask": m, "labels": y}
            for i, m, y in zip(given["input_ids"], given["attention_mask"], labels, strict=True)
        ]

    arguments = TrainingArguments(
        "/tmp/regraft-bench-trainer", num_train_epochs=epochs, per_device_train_batch_size=32,  # noqa: S108
        per_device_eval_batch_size=64, learning_rate=1e-2, report_to=[], save_strategy="no",
        use_cpu=True, disable_tqdm=True, logging_strategy="no", seed=0,
    )  # fmt: skip
    from transformers import DataCollatorWithPadding

    collate = DataCollatorWithPadding(tokenizer)
    model = Classifier()
    held = rows(valid)
    run = Trainer(model, arguments, train_dataset=rows(learn), data_collator=collate)
    began, used = time.perf_counter(), time.process_time()
    run.train()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - used
    with torch.inference_mode():
        answers = run.predict(held)
    right = answers.predictions.argmax(axis=1) == answers.label_ids
    recalls = [right[answers.label_ids == c].mean() for c in range(2)]
    print(
        json.dumps(
            {
                "train_seconds": seconds,
                "train_cpu_seconds": cpu_seconds,
                "accuracy": float(right.mean()),
                "balanced_accuracy": float(np.mean(recalls)),
            }
        )
    )


# --- few labels -----------------------------------------------------------------------------------


def few(
    size: int, seeds: int, setfit_seeds: int, steps: int, test: int
) -> tuple[list[Figure], dict]:
    """Balanced accuracy on mails of other threads, with so many labels a class."""
    division = mails.divided()
    rng = np.random.default_rng(0)
    held = [division.test[i] for i in rng.permutation(len(division.test))[:test]]
    raw: dict[str, list[dict]] = {name: [] for name in ("regraft", "tf-idf", "setfit")}
    with harness.fresh_cache() as root:
        test_table = mails.write(root / "test.csv", held)
        for seed in range(seeds):
            some = mails.drawn(division.pool, size, seed)
            table = mails.write(root / f"learn-{seed}.csv", some)
            raw["regraft"].append(_fitted(table, test_table, root / f"run-{seed}", seed))
            raw["tf-idf"].append(_tfidf(some, held))
            if seed < setfit_seeds:
                words = ["--as-setfit", table, test_table, "--seed", seed, "--steps", steps]
                done = harness.run(harness.module("texts", *map(str, words)))
                row = json.loads(done.stdout.splitlines()[-1])
                raw["setfit"].append(row | {"seconds": done.seconds})
            print(size, seed, {name: rows[-1:] for name, rows in raw.items()},
                  file=sys.stderr, flush=True)  # fmt: skip
    return _few_figures(raw, size, steps), raw


def _fitted(table: Path, test_table: Path, out: Path, seed: int) -> dict:
    """The whole ladder as a user runs it; the seconds are those of `fit`, its test included."""
    words = ["fit", table, "--test", test_table, "--out", out, "--seed", str(seed)]
    done = harness.run(harness.regraft(*words, "--max-bad", "0.1"))
    evaluated = harness.run(harness.regraft("evaluate", out, test_table, "--json"))
    score = _balanced(json.loads(evaluated.stdout)["confusion"])
    report = harness.report_of(out)
    rungs = {rung["name"]: rung["verdict"] for rung in report["rungs"]}
    return {"score": score, "seconds": done.seconds, "best": report["best"], "rungs": rungs}


def _balanced(matrix_cc: Sequence[Sequence[int]]) -> float:
    return float(np.mean([row[k] / sum(row) for k, row in enumerate(matrix_cc) if sum(row)]))


def _tfidf(some: list[mails.Mail], held: list[mails.Mail]) -> dict[str, float]:
    from regraft.tasks.tfidf import fit_tfidf

    began = time.perf_counter()
    target_nc = np.array([[m.label == name for name in mails.LABELS] for m in some], np.float32)
    model = fit_tfidf([m.text for m in some], target_nc, [m.thread for m in some], True)
    said_n = model.logits([m.text for m in held]).argmax(axis=1)
    given_n = np.array([mails.LABELS.index(m.label) for m in held])
    score = float(np.mean([(said_n[given_n == c] == c).mean() for c in range(2)]))
    return {"score": score, "seconds": time.perf_counter() - began}


def _few_figures(raw: dict[str, list[dict]], size: int, steps: int) -> list[Figure]:
    shown = [
        f"{name} {_interval([100 * row['score'] for row in rows])}"
        for name, rows in raw.items()
        if rows
    ]
    ours, words, theirs = raw["regraft"], raw["tf-idf"], raw["setfit"]
    what = f"{size} labels a class: ahead of"
    figures = [Figure(f"{what} TF-IDF", _ahead(ours, words), "points", "", "; ".join(shown))]
    if not theirs:
        return figures
    taken = max(row["steps"] for row in theirs)
    note = f"same {len(theirs)} draws; SetFit took {taken} steps"
    if taken == steps:
        note += ", where it was stopped"
    slow, fast = ([row["seconds"] for row in rows] for rows in (theirs, ours[: len(theirs)]))
    return [
        *figures,
        Figure(f"{what} SetFit", _ahead(ours, theirs), "points", "≥ 0", note),
        harness.ratio(f"{size} labels a class: SetFit / fit, processes", slow, fast, "≥ 10"),
    ]


def _interval(scores: Sequence[float]) -> str:
    """Mean and 95 % interval of the mean over draws."""
    many = len(scores)
    spread = f" ± {1.96 * stdev(scores) / many**0.5:.1f}" if many > 1 else ""
    return f"{mean(scores):.1f}{spread} ({many} draws)"


def _ahead(one: Sequence[dict], other: Sequence[dict]) -> float:
    """Points by which the first is ahead in mean, on the draws that both have."""
    return 100 * mean(a["score"] - b["score"] for a, b in zip(one, other, strict=False))


def as_setfit(learn: Path, test: Path, seed: int, steps: int) -> None:
    """SetFit with its defaults, the same encoder, and a limit on its steps; prints a JSON line.

    By default it takes every pair of texts once, the rarer kind (one class, two classes) as often
    as the other. Its `max_steps` is no limit but the number of steps, so it is given only where
    the pairs would take more.
    """
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    from regraft.backbones.text_models import minilm_folder
    from regraft.dataset.table import read_table

    def rows(path: Path) -> dict[str, list]:
        table = read_table(path)
        labels = [mails.LABELS.index(name) for name in table.texts("label")]
        return {"text": table.texts("text"), "label": labels}

    given = rows(learn)
    many = np.bincount(given["label"])
    same, different = (many * (many - 1)).sum() // 2, (many.sum() ** 2 - (many**2).sum()) // 2
    whole = -(-2 * max(same, different) // 16)  # pairs in a batch
    model = SetFitModel.from_pretrained(str(minilm_folder()))
    arguments = TrainingArguments(
        "/tmp/regraft-bench-setfit", seed=seed, report_to="none",  # noqa: S108
        max_steps=steps if whole > steps else -1, save_strategy="no", show_progress_bar=False,
    )  # fmt: skip
    run = Trainer(model=model, args=arguments, train_dataset=Dataset.from_dict(given))
    run.train()
    held = rows(test)
    said_n = np.asarray(model.predict(held["text"]))
    given_n = np.array(held["label"])
    score = float(np.mean([(said_n[given_n == c] == c).mean() for c in range(2)]))
    print(json.dumps({"score": score, "steps": run.st_trainer.state.global_step}))


# --------------------------------------------------------------------------------------------------


def main() -> None:
    """Measure, and write results/texts-….json, one for each part and number of labels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--mails", type=int, default=2000, help="of throughput and trainer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10, help="of Trainer")
    parser.add_argument("--labels", type=int, nargs="+", default=[8, 64, 512], help="a class")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--setfit-seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=1000, help="of SetFit at most")
    parser.add_argument("--test", type=int, default=600, help="mails to test few labels on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--as-trainer", nargs=2, type=Path)
    parser.add_argument("--as-setfit", nargs=2, type=Path)
    args = parser.parse_args()
    if args.as_trainer:
        return as_trainer(*args.as_trainer, args.epochs)
    if args.as_setfit:
        return as_setfit(*args.as_setfit, args.seed, args.steps)
    if "throughput" in args.parts:
        harness.save("texts-throughput", *throughput(args.mails, args.rounds))
    if "trainer" in args.parts:
        harness.save("texts-trainer", *trainer(args.mails, args.epochs, args.rounds))
    for size in args.labels if "few" in args.parts else ():
        measured = few(size, args.seeds, args.setfit_seeds, args.steps, args.test)
        harness.save(f"texts-few-{size}", *measured)


if __name__ == "__main__":
    main()
