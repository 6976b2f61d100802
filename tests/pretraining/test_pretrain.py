import html
import json
import re
import time
import tracemalloc
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from running import killed, start, steps_of, weights

import regraft
from regraft.backbones import build, check_backbone, open_backbone
from regraft.backbones.levels import with_levels
from regraft.dataset import read
from regraft.errors import (
    ContractBroken,
    DataError,
    RegraftError,
    StoreError,
    TrainingFailed,
    UsageError,
)
from regraft.events import Event, Said, Stepped
from regraft.pretraining import Settings, check_objective, neighbours, objective, pretrain
from regraft.pretraining.augment import DRAWS
from regraft.pretraining.contrastive import Contrast, Rows
from regraft.pretraining.judge import Evaluator
from regraft.pretraining.learning import _too_few
from regraft.pretraining.objective import Job
from regraft.pretraining.objectives import choose, settings_of
from regraft.pretraining.pictures import Canvases
from regraft.pretraining.settings import FEW_STEPS

NETWORK = """
from torch import nn
from regraft import Preprocessing

def tiny():
    def block(i, o):
        return nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o), nn.ReLU())
    end = nn.Sequential(block(16, 24), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return [("a", block(3, 8)), ("b", block(8, 16)), ("c", end)], Preprocessing(size_px=32)
"""


def picture(kind: int, rng: np.random.Generator) -> Image.Image:
    """Stripes across or along, in any colours."""
    wave = np.sin(np.arange(40) / rng.uniform(1, 3) + rng.uniform(0, 6))[:, None]
    grey = np.broadcast_to(wave if kind else wave.T, (40, 40))[..., None]
    low, high = rng.uniform(0, 120, 3), rng.uniform(130, 255, 3)
    shown = low + (high - low) * (grey + 1) / 2 + rng.normal(0, 8, (40, 40, 1))
    return Image.fromarray(shown.clip(0, 255).astype(np.uint8))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, opened_once: None) -> None:
    monkeypatch.setattr("regraft.pretraining.judge_tuned.MOST_STEPS", 20)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    (tmp_path / "pool" / "deep").mkdir(parents=True)
    for i in range(48):
        picture(i % 2, rng).save(tmp_path / "pool" / ("deep" if i % 3 else ".") / f"{i}.png")
    for split, count in (("train", 8), ("valid", 8), ("test", 12)):
        for kind, name in enumerate(("along", "across")):
            folder = tmp_path / "judge" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                picture(kind, rng).save(folder / f"{i}.png")
    (tmp_path / "net.py").write_text(NETWORK)
    return tmp_path


def settings(**changes) -> Settings:
    return Settings(**({"batch": 16, "epochs": 4, "bf16": False} | changes))


def test_from_a_pool_to_a_backbone_that_fit_climbs(place: Path) -> None:
    copy = place / "judge/test/along/3.png"
    (place / "pool/copy.png").write_bytes(copy.read_bytes())
    done = pretrain(
        place / "pool",
        place / "run",
        backbone=start(place),
        judge=place / "judge",
        settings=settings(epochs=7),
    )
    report = json.loads((done.folder / "report.json").read_text())
    assert report["verdict"]["answer"] in ("helped", "no difference", "hurt")
    assert report["verdict"]["fine_tuned"]["answer"] in ("helped", "no difference", "hurt")
    assert 0 <= report["verdict"]["p"] <= 1
    assert report["data"]["samples"] == 48
    assert [p["where"] for p in report["data"]["problems"] if p["kind"] == "leak"] == ["copy.png"]
    last = report["curves"][-1]
    assert {"loss", "alignment", "uniformity", "effective_rank", "spread", "probe"} <= set(last)
    for row in report["neighbours"]:
        kind = row["sample"].split("/")[1]
        assert row["same"]["after"] == [name.split("/")[1] == kind for name in row["after"]]
    assert 0 <= report["alike"]["before"] <= 1
    assert len(report["map"]["labels"]) == 24
    html = (done.folder / "report.html").read_text()
    assert "Nearest labelled" in html
    assert not re.search(r"(src|href)=[\"'](?!data:)", html)
    assert report["task"] == "image-classification"
    assert report["test"] == report["verdict"]["after"]
    assert report["environment"]["packages"]["torch"]
    assert report["judge"]["splits"] == {"train": 16, "valid": 16, "test": 24}
    assert html.count("data:image/jpeg") > 20
    (done.folder / "report.html").unlink()
    assert regraft.report(done.folder).read_text() == html
    backbone = open_backbone(str(done.folder))
    check_backbone(backbone)
    with pytest.raises(StoreError, match="a backbone and no model") as refused:
        regraft.predict(done.folder, [copy])
    assert f"--backbone {done.folder}" in refused.value.mend
    fitted = regraft.fit(place / "judge", place / "fit", backbone=str(done.folder), train="head")
    assert fitted.report["backbone"]["sha256"] == backbone.sha256


def test_the_loss_falls_and_the_frozen_part_stays(place: Path) -> None:
    done = pretrain(
        place / "pool", place / "run", backbone=start(place), train="last:1",
        settings=settings(epochs=20, piece=8),
    )  # fmt: skip
    losses = done.report["losses"]
    assert np.mean(losses[-6:]) < np.mean(losses[3:9])
    assert done.report["backbone"]["frozen_intact"] is True
    assert done.report["verdict"]["answer"] == "not judged"
    assert done.report["alike"] is None
    rows = done.report["neighbours"]
    assert len(rows) == 6
    assert all(len(row[when]) == 5 for row in rows for when in ("before", "after"))
    assert all(row["sample"] not in row["after"] for row in rows)
    assert len(done.report["map"]["after"]) == 48
    assert (done.folder / "report.html").read_text().count("data:image/jpeg") == 66


def test_a_run_goes_on_with_the_pieces_that_it_began_with(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Norm layers look at a piece, so another size of it means other weights."""
    from regraft.pretraining import contrastive

    def stop(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 2:
            raise KeyboardInterrupt

    asked = settings(epochs=2)
    for out, later in (("cut", 10**9), ("whole", 340_000)):
        monkeypatch.setattr(contrastive, "PIECE_BYTES", 340_000)
        with pytest.raises(KeyboardInterrupt):
            pretrain(place / "pool", place / out, backbone=start(place), settings=asked, tell=stop)
        monkeypatch.setattr(contrastive, "PIECE_BYTES", later)
        pretrain(place / "pool", place / out, backbone=start(place), settings=asked)
    assert weights(place / "cut") == weights(place / "whole")


def test_killed_and_resumed_gives_the_same_bits(place: Path) -> None:
    asked = settings(epochs=12, negatives="queue")
    killed(place, "cut", asked)
    rest, all_steps = (steps_of(place, out, asked) for out in ("cut", "whole"))
    assert all_steps == list(range(1, 37))
    assert 10 <= len(rest) < 27
    assert rest == all_steps[-len(rest) :]
    assert weights(place / "cut") == weights(place / "whole")


def test_a_pool_is_measured_in_parts_that_batch_norm_can_do_with(place: Path) -> None:
    """129 pictures are one more than are looked at together."""
    rng = np.random.default_rng(1)
    for i in range(48, 129):
        picture(i % 2, rng).save(place / "pool" / f"{i}.png")
    done = pretrain(place / "pool", place / "run", backbone=start(place),
                    settings=settings(batch=64, epochs=1))  # fmt: skip
    assert done.report["data"]["samples"] == 129
    assert all(0 <= point["spread"] <= 1 for point in done.report["curves"])


def test_pictures_of_a_large_judge_are_not_held_in_memory(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = open_backbone(start(place))
    network, samples = build(backbone), regraft.load(place / "judge").samples
    kept, passed = neighbours.Embedder(backbone), neighbours.Embedder(backbone)
    found = kept.features(network, samples)
    monkeypatch.setattr(neighbours, "KEPT_BYTES", len(samples) * 32 * 32 * 3 - 1)
    assert np.array_equal(passed.features(network, samples), found)
    assert len(kept._inputs) == len(samples)
    assert not passed._inputs


def test_the_judges_fine_tuning_keeps_to_the_limit_of_the_cache(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_CACHE_LIMIT", "20 kB")
    pretrain(place / "pool", place / "run", backbone=start(place), judge=place / "judge",
             settings=settings(epochs=1))  # fmt: skip
    kept = sum(path.stat().st_size for path in (place / "cache").glob("features/*/*.rows"))
    measured = 16 + 24  # of valid and test; what is learnt from is read anew
    assert kept < (measured + 5) * 32 * 32 * 3


def test_copies_of_the_judges_samples_stay_out_unless_asked_for(place: Path) -> None:
    """Exact and near ones of valid and test; those of train may stay."""
    judge = place / "judge"
    for name, of in (("exact", "test/along/3.png"), ("seen", "train/along/3.png")):
        (place / "pool" / f"{name}.png").write_bytes((judge / of).read_bytes())
    Image.open(judge / "valid/across/1.png").resize((60, 60)).save(place / "pool/near.jpg")
    for keep, count in ((False, 49), (True, 51)):
        done = pretrain(
            place / "pool", place / f"run-{keep}", backbone=start(place), judge=judge,
            settings=settings(epochs=1, keep_duplicates=keep),
        )  # fmt: skip
        data = done.report["data"]
        assert data["samples"] == count
        leaks = {p["where"]: p["done"] for p in data["problems"] if p["kind"] == "leak"}
        said = "kept" if keep else "left out"
        assert leaks == {"exact.png": said, "near.jpg": said}
        page = html.unescape((done.folder / "report.html").read_text())
        assert all(leak in page for leak in leaks)
        assert f"2 of the pool that are or hold copies of the judge's were {said}" in page
        in_verdict = "Copies of the judge's samples, 2 in the pool, were learnt"
        assert (in_verdict in done.report["verdict"]["text"]) == keep


def test_what_is_wrong_with_the_judges_data_is_said(place: Path) -> None:
    judge = place / "judge"
    (judge / "train/along/empty.png").touch()
    rows = [f"{path.relative_to(judge)},{path.parent.name},{path.parent.parent.name}"
            for path in sorted(judge.rglob("*.png"))]  # fmt: skip
    groups = [f",{'one yard' if '/test/' in f'/{row}' else ''}" for row in rows]
    lines = ["path,label,split,group", *(r + g for r, g in zip(rows, groups, strict=True))]
    (judge / "labels.csv").write_text("\n".join(lines))
    told = list[str]()
    report = pretrain(
        place / "pool", place / "run", backbone=start(place), judge=judge / "labels.csv",
        settings=settings(epochs=1), max_bad=0.1,
        tell=lambda event: told.append(getattr(event, "text", "")),
    ).report  # fmt: skip
    assert {p["kind"] for p in report["judge"]["problems"]} >= {"one-group", "empty"}
    assert "are of one group (one yard)" in report["verdict"]["text"]
    said = f"{len(report['judge']['problems'])} problems found in the judge's data: see the report"
    assert said in told
    assert "test/along/3.png" not in str(report["data"]["problems"])


@pytest.mark.parametrize("negatives", ["batch", "queue"])
def test_the_objective_keeps_its_contract(place: Path, negatives: str) -> None:
    objective = choose("contrastive", place / "pool", settings(negatives=negatives, piece=8))
    pool = objective.read(place / "pool", [], 0.01, lambda _: None)
    assert len(check_objective(objective, open_backbone(start(place)), pool.samples)) == 6


def test_what_is_random_in_a_network_is_measured_alike_each_time(place: Path) -> None:
    text = NETWORK.replace("nn.Flatten()", "nn.Flatten(), nn.Dropout(0.5)")
    (place / "net.py").write_text(text)
    objective = choose("contrastive", place / "pool", settings())
    pool = objective.read(place / "pool", [], 0.01, lambda _: None)
    assert len(check_objective(objective, open_backbone(start(place)), pool.samples)) == 6

    def stop(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(place / "pool", place / "cut", backbone=start(place), settings=settings(),
                 tell=stop)  # fmt: skip
    cut, whole = (
        pretrain(place / "pool", place / out, backbone=start(place), settings=settings()).report
        for out in ("cut", "whole")
    )
    assert cut["curves"] == whole["curves"]


def test_the_queue_knows_whose_keys_it_holds(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool of 48 and a queue of 4,096: from the second epoch on it holds each sample's own."""
    from regraft.pretraining import momentum

    plain, counts = momentum.momentum_contrast, []

    def looked_at(*given):
        counts.append([int((given[5] == number).sum()) for number in given[4]])
        return plain(*given)

    monkeypatch.setattr(momentum, "momentum_contrast", looked_at)
    pretrain(place / "pool", place / "run", backbone=start(place),
             settings=settings(epochs=3, negatives="queue"))  # fmt: skip
    assert counts == 3 * [16 * [0]] + 3 * [16 * [1]] + 3 * [16 * [2]]


def learner_of(place: Path, asked: Settings, frozen: int = 0) -> Contrast:
    objective = choose("contrastive", place / "pool", asked)
    pool = objective.read(place / "pool", [], 0.01, lambda _: None)
    job = Job(open_backbone(start(place)), frozen, pool.samples, 0, lambda _, work: work(), None,
              False, lambda _: None)  # fmt: skip
    learner = objective.open(job)
    assert isinstance(learner, Contrast)
    return learner


def taken(learner: Contrast, steps: int = 2) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses of some steps of descent, and all gradients (clipped), keys and statistics then."""
    losses: list[float] = []
    with closing(learner):
        for step in range(steps):
            learner.model.zero_grad()
            losses.append(learner.backward(step))
            torch.nn.utils.clip_grad_norm_(learner.model.parameters(), 1.0)
            with torch.no_grad():
                for parameter in learner.model.parameters():
                    parameter.sub_(parameter.grad, alpha=0.1)
            learner.stepped(step)
    found = {name: p.grad for name, p in learner.model.named_parameters()}
    found |= dict(learner.model.projection.named_buffers(prefix="projection"))
    return losses, found | {f"keys {i}": key for i, key in enumerate(learner._keys or ())}


@pytest.mark.parametrize("negatives", ["batch", "queue"])
def test_a_step_in_pieces_is_that_of_the_whole_batch(place: Path, negatives: str) -> None:
    """Where no batch norm ties samples together in the network; the projection's sees all."""
    (place / "net.py").write_text(NETWORK.replace("BatchNorm2d(o)", "GroupNorm(2, o)"))
    losses, whole = taken(learner_of(place, settings(negatives=negatives, piece=16)))
    assert max(grad.abs().max() for grad in whole.values()) > 0.01
    for piece in (3, 1):
        again, parts = taken(learner_of(place, settings(negatives=negatives, piece=piece)))
        assert again == pytest.approx(losses, abs=1e-5)
        assert parts.keys() == whole.keys()
        for name, tensor in whole.items():
            assert torch.allclose(parts[name], tensor, atol=1e-5), (piece, name)


def test_memory_for_rows_does_not_grow_with_the_batch(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of 4,096 fits where 64 fit: two pieces at a time of what is decoded as it goes."""
    monkeypatch.setattr("regraft.pretraining.decoded.POOL_BYTES", 0)
    peaks = dict[int, int]()
    for batch in (64, 4096):
        objective = choose("contrastive", place / "pool", settings(batch=batch, piece=64))
        pool = objective.read(place / "pool", [], 0.01, lambda _: None)
        samples = (pool.samples * 86)[:4096]
        job = Job(open_backbone(start(place)), 0, samples, 0, lambda _, work: work(), None, False,
                  lambda _: None)  # fmt: skip
        with closing(objective.open(job)) as learner:
            tracemalloc.start()
            learner.backward(0)
            peaks[batch] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    piece_bytes = 64 * 64 * 64 * 3
    assert piece_bytes < peaks[64] < 4 * piece_bytes
    assert peaks[4096] < 8 * piece_bytes < 64 * piece_bytes


@pytest.mark.parametrize("negatives", ["batch", "queue"])
def test_copies_in_a_pool_are_no_negatives(place: Path, negatives: str) -> None:
    from regraft.pretraining import contrastive, momentum

    copies = {"0.png", "50.png", "60.png"}
    for side in (50, 60):
        Image.open(place / "pool/0.png").resize((side, side)).save(place / "pool" / f"{side}.png")
    learner = learner_of(place, settings(negatives=negatives, batch=50))
    seen = list[list[int]]()
    with closing(learner), pytest.MonkeyPatch.context() as patch:
        module, name, at = {
            "batch": (contrastive, "nt_xent", 3), "queue": (momentum, "momentum_contrast", 4)
        }[negatives]  # fmt: skip
        plain = getattr(module, name)
        patch.setattr(module, name, lambda *given: seen.append(given[at].tolist()) or plain(*given))
        learner.backward(0)
        (numbers,) = seen
        names = [learner._job.samples[i].id for i in learner._order(0)]
    of = {name: number for name, number in zip(names, numbers, strict=True) if name in copies}
    assert set(of) == copies
    assert len(set(of.values())) == 1
    assert len(set(numbers)) == 48


def test_a_pool_of_copies_is_too_small(place: Path) -> None:
    (place / "same").mkdir()
    for side in range(40, 60, 4):
        Image.open(place / "pool/0.png").resize((side, side)).save(place / "same" / f"{side}.png")
    with pytest.raises(DataError, match=r"tell apart: 1 \(copies count once\)"):
        pretrain(place / "same", place / "run", backbone=start(place), settings=settings())


@pytest.mark.parametrize("piece", [16, 8])
def test_keys_come_from_a_copy_that_follows_slowly(place: Path, piece: int) -> None:
    asked = settings(negatives="queue", momentum=0.9, piece=piece, bf16=False)
    with closing(learner_of(place, asked)) as learner:
        name = "projection.0.weight"
        before = learner.state()[f"slow.{name}"].clone()
        learner.backward(0)
        first = learner._keys
        with torch.no_grad():
            for parameter in learner.model.parameters():
                parameter += 1
        learner.backward(0)  # the same views: keys do not know that the model has moved
        for mine, again in zip(first, learner._keys, strict=True):
            assert torch.equal(mine, again)
        learner.stepped(0)
        after = learner.state()
        assert torch.allclose(after[f"slow.{name}"], 0.9 * before + 0.1 * after[name])
        assert not after[f"slow.{name}"].requires_grad
        assert torch.equal(after["queue"], torch.nn.functional.normalize(first[1]))
        learner.backward(1)
        learner.stepped(1)
        assert torch.equal(learner.state()["queue"][16:], after["queue"])


def test_what_is_frozen_sleeps_in_the_slow_copy_too(place: Path) -> None:
    with closing(learner_of(place, settings(negatives="queue"), frozen=2)) as learner:
        slow = learner._momentum.model
        frozen = {k: v.clone() for k, v in slow.network.stages[0].state_dict().items()}
        for step in range(2):
            learner.backward(step)
            learner.stepped(step)
        for name, tensor in slow.network.stages[0].state_dict().items():
            assert torch.equal(tensor, frozen[name])
        assert not slow.network.stages[0].training


def test_tiles_may_come_from_the_ends_of_a_long_picture(place: Path) -> None:
    """Its middle square is grey, its ends are red and blue; as it was shot, and on its side."""
    wide = np.full((40, 120, 3), 128, np.uint8)
    wide[:, :40], wide[:, 80:] = (255, 0, 0), (0, 0, 255)
    (place / "long").mkdir()
    Image.fromarray(wide).save(place / "long/wide.png")
    Image.fromarray(wide.transpose(1, 0, 2)).save(place / "long/tall.png")
    for i in range(2):
        picture(i, np.random.default_rng(i)).save(place / "long" / f"{i}.png")
    objective = choose("contrastive", place / "long", settings())
    pool = objective.read(place / "long", [], 0.01, lambda _: None)
    backbone = open_backbone(start(place))
    with closing(Canvases(pool.samples, backbone, lambda _: None)) as canvases:
        found = canvases.rows(np.arange(4))
    aspect = dict(zip([s.id for s in pool.samples], found.aspect_b, strict=True))
    assert aspect == {"wide.png": 3, "tall.png": 1 / 3, "0.png": 1, "1.png": 1}
    pixels = dict(zip([s.id for s in pool.samples], found.pixels_b, strict=True))
    for name, axis in (("wide.png", 0), ("tall.png", 1)):
        ends = pixels[name].mean(axis=axis)
        assert np.allclose(ends[2], (255, 0, 0), atol=8)
        assert np.allclose(ends[-3], (0, 0, 255), atol=8)


def test_a_queue_without_its_negatives_is_named_and_its_limits_are() -> None:
    for chosen, what in (
        ({"queue": 64}, "queue of 64 keys"),
        ({"momentum": 0.9}, "a momentum was"),
    ):
        with pytest.raises(UsageError, match=what) as said:
            settings(**chosen)
        assert "--negatives queue" in str(said.value)
    for wrong in ({"queue": 0}, {"momentum": 1.0}, {"momentum": -0.1}):
        with pytest.raises(UsageError, match="cannot be"):
            settings(negatives="queue", **wrong)
    assert (settings().queue, settings().momentum) == (None, None)
    assert (settings(negatives="queue").queue, settings(negatives="queue").momentum) == (4096, 0.99)


def test_tiles_of_a_squeezed_picture_are_cut_as_it_was(place: Path) -> None:
    """Views of a wide picture's canvas differ by whether its shape is known."""
    with closing(learner_of(place, settings())) as learner:
        rows = learner._footage.rows(np.arange(4))
        draws = np.random.default_rng(0).random((2, 4, DRAWS))
        views = [
            learner._objective.views(learner.model, Rows(rows.pixels_b, aspect_b), draws, 0)
            for aspect_b in (np.ones(4), np.full(4, 3.0))
        ]
        assert not torch.allclose(*views)


def test_an_objective_that_forgets_its_queue_breaks_the_contract(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = choose("contrastive", place / "pool", settings(negatives="queue"))
    pool = objective.read(place / "pool", [], 0.01, lambda _: None)
    keep = Contrast.state
    monkeypatch.setattr(
        Contrast,
        "state",
        lambda self: {
            **keep(self),
            "queue": keep(self)["queue"][:0],
            "queued": keep(self)["queued"][:0],
        },
    )
    with pytest.raises(ContractBroken, match="same bits"):
        check_objective(objective, open_backbone(start(place)), pool.samples)


def test_a_budget_decides_the_steps_once(place: Path) -> None:
    done = pretrain(place / "pool", place / "run", backbone=start(place), budget=1.0,
                    settings=settings())  # fmt: skip
    again = pretrain(place / "pool", place / "run", backbone=start(place), budget=1.0,
                     settings=settings())  # fmt: skip
    assert done.report["steps"] == again.report["steps"] > 0


def test_a_budget_that_pays_for_little_is_said_to(place: Path) -> None:
    said: list[str] = []
    pretrain(place / "pool", place / "run", backbone=start(place), budget=0.1, settings=settings(),
             tell=lambda event: said.append(getattr(event, "text", "")))  # fmt: skip
    (told,) = (text for text in said if "pays for few steps" in text)
    assert "s went into preparing" in told and "measuring will take" in told
    assert "1 step of about" in told and "give --budget " in told


def test_decoding_is_part_of_the_budget_and_counts_once(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that decoding moves on by 1,000 s."""
    plain, late_s, heard = Canvases.__init__, [0.0], list[Event]()
    clock = SimpleNamespace(perf_counter=lambda: time.perf_counter() + late_s[0])

    def slow(self: Canvases, *given: object) -> None:
        plain(self, *given)
        late_s[0] += 1000

    def stop(event: Event) -> None:
        heard.append(event)
        if isinstance(event, Stepped) and late_s[0] == 1000:
            raise KeyboardInterrupt

    monkeypatch.setattr(Canvases, "__init__", slow)
    monkeypatch.setattr("regraft.pretraining.learning.time", clock)
    asked = {"backbone": start(place), "budget": 1000.0, "settings": settings(), "tell": stop}
    with pytest.raises(KeyboardInterrupt):
        pretrain(place / "pool", place / "run", **asked)
    (said,) = (e.text for e in heard if isinstance(e, Said) and "preparing" in e.text)
    assert "16 min 40 s went into preparing" in said
    done = pretrain(place / "pool", place / "run", **asked)
    assert [e.text for e in heard if isinstance(e, Said)].count(said) == 2
    assert late_s[0] == 2000
    assert done.report["steps"] == 1


def test_where_measuring_takes_the_budget_a_smaller_batch_is_no_advice() -> None:
    facts = {"steps": 1, "rounds": 2, "seconds_a_step": 0.16, "seconds_before": 0.4}
    told = _too_few(facts | {"seconds_a_round": 3.7}, 8)
    assert "0.4 s went into preparing, measuring will take 7.4 s; that leaves 1 step of" in told
    assert told.endswith("give --budget 12s or more")
    told = _too_few(facts | {"seconds_a_round": 0.1, "seconds_a_step": 5}, 8)
    assert told.endswith("give --budget 3m or more, or a smaller --batch")


def test_a_start_from_random_weights_is_not_harmed_by_being_fine_tuned(place: Path) -> None:
    """Its norms have no statistics to keep: with those of nothing the loss rose to 20."""
    pytest.importorskip("timm")
    losses: list[float] = []

    def hear(event: Event) -> None:
        if isinstance(event, Stepped) and event.rung == "judge-before":
            losses.append(event.loss)

    pretrain(
        place / "pool", place / "run", backbone="random:resnet10t", judge=place / "judge",
        settings=settings(size_px=32, epochs=7), tell=hear,
    )  # fmt: skip
    assert np.mean(losses[-5:]) < 0.5


def test_a_verdict_on_few_steps_says_that_they_are_few(place: Path) -> None:
    done = pretrain(
        place / "pool", place / "run", backbone=start(place), judge=place / "judge", budget=0.1,
        settings=settings(),
    )  # fmt: skip
    assert done.report["steps"] < FEW_STEPS
    assert "of the 20 steps that it needs" in done.report["verdict"]["text"]
    assert "so start and result were not fine-tuned" in done.report["verdict"]["text"]
    assert done.report["verdict"]["fine_tuned"] is None
    assert "too few to tell whether it helps" in (done.folder / "report.html").read_text()


@pytest.mark.parametrize(("memory", "piece"), [(10**9, 16), (340_000, 4)])
def test_the_network_sees_at_once_what_memory_holds(
    memory: int, piece: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regraft.pretraining import contrastive

    plain, sizes = contrastive.backward_in_pieces, set[int]()

    def looked_at(model, embed, pieces, loss_of):
        def seen(piece):
            found = embed(piece)
            sizes.add(len(found[0]))
            return found

        return plain(model, seen, pieces, loss_of)

    monkeypatch.setattr(contrastive, "backward_in_pieces", looked_at)
    monkeypatch.setattr(contrastive, "PIECE_BYTES", memory)
    pretrain(place / "pool", place / "run", backbone=start(place), settings=settings(epochs=1))
    assert sizes == {piece}


@pytest.mark.parametrize("has", [False, True])
def test_the_processor_decides_the_precision_and_a_person_may(
    place: Path, has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective, "has_bfloat16", lambda: has)

    def said(name: str, bf16: bool | None) -> dict:
        asked = settings(bf16=bf16, epochs=1)
        return pretrain(
            place / "pool", place / name, backbone=start(place), settings=asked, compare="scratch"
        ).report

    free, asked = said("free", None), said("asked", has)
    assert free["after"] == free["scratch"]["after"] == {"bf16": has}
    assert weights(place / "free") == weights(place / "asked")
    other = said("other", not has)
    assert other["after"] == {"bf16": not has}
    assert weights(place / "other") != weights(place / "free")
    assert asked["settings"]["bf16"] is has


def test_it_is_measured_no_more_often_than_twenty_times(place: Path) -> None:
    done = pretrain(place / "pool", place / "run", backbone=start(place),
                    settings=settings(epochs=13))  # fmt: skip
    assert done.report["steps"] == 39
    assert [point["step"] for point in done.report["curves"]] == [*range(0, 39, 2), 39]


def test_training_stops_when_the_probe_no_longer_rises_and_says_so(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def probe(self: Evaluator, network: object) -> dict[str, float]:
        """Rises for eight rounds, swinging; then it only swings."""
        seen.append(1)
        return {"probe": 0.05 * min(len(seen), 8) + 0.04 * (len(seen) % 2)}

    monkeypatch.setattr(Evaluator, "probe", probe)
    done = pretrain(
        place / "pool", place / "run", backbone=start(place), judge=place / "judge",
        settings=settings(epochs=20),
    )  # fmt: skip
    assert "has not risen" in done.report["stopped"]
    last = done.report["curves"][-1]["step"]
    seen.clear()

    def stop(event: Event) -> None:
        if isinstance(event, Said) and event.text.startswith(f"step {last}:"):
            raise KeyboardInterrupt

    asked = {"judge": place / "judge", "settings": settings(epochs=20)}
    with pytest.raises(KeyboardInterrupt):
        pretrain(place / "pool", place / "cut", backbone=start(place), tell=stop, **asked)
    again = pretrain(place / "pool", place / "cut", backbone=start(place), **asked)
    assert again.report["curves"] == done.report["curves"]
    assert weights(place / "cut") == weights(place / "run")
    assert 12 <= len(seen) <= 18
    assert done.report["steps"] == done.report["curves"][-1]["step"] < 60
    again = pretrain(
        place / "pool", place / "run", backbone=start(place), judge=place / "judge",
        settings=settings(epochs=20),
    )  # fmt: skip
    assert again.report["steps"] == done.report["steps"]


def test_the_twin_of_a_training_that_stopped_early_learns_at_its_rates(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regraft.transfer import loop

    monkeypatch.setattr(Evaluator, "probe", lambda *_: {"probe": 0.5})
    plain, rates = loop.set_rates, dict[str, list[float]]()

    def stop(event: Event) -> None:
        if isinstance(event, Stepped):
            rates.setdefault(event.rung, []).append(now[0])
            if (event.rung, event.step) == ("scratch", 20) and len(rates["scratch"]) == 20:
                raise KeyboardInterrupt

    now = [0.0]

    def heard(optimiser: torch.optim.Optimizer, step: int, steps: int) -> None:
        plain(optimiser, step, steps)
        now[0] = optimiser.param_groups[0]["lr"]

    monkeypatch.setattr(loop, "set_rates", heard)
    asked = {
        "backbone": start(place), "judge": place / "judge", "settings": settings(epochs=20),
        "compare": "scratch", "tell": stop,
    }  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        pretrain(place / "pool", place / "run", **asked)
    report = pretrain(place / "pool", place / "run", **asked).report
    assert report["steps"] == report["scratch"]["steps"] == 30
    points = [[point["step"] for point in some["curves"]] for some in (report, report["scratch"])]
    assert points[0] == points[1]
    assert rates["pretrain"] == rates["scratch"]
    assert rates["scratch"][-1] > 0.4 * max(rates["scratch"])
    judged = report["scratch"]["judged"]
    assert judged["after"] == report["verdict"]["after"]
    assert judged["before"] != report["verdict"]["before"]  # other weights than the start's
    said = judged["text"]
    assert f"has {100 * judged['before']['value']:.1f} % after as many steps" in said
    html = (place / "run" / "report.html").read_text()
    assert said.split(";")[0] in html


def test_a_run_stopped_while_it_was_measured_has_the_curves_of_an_undisturbed_one(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of what stands beside it, at the very step where that ends."""
    monkeypatch.setattr(Evaluator, "probe", lambda *_: {"probe": 0.5})
    asked = {
        "backbone": start(place), "judge": place / "judge", "settings": settings(epochs=20),
        "compare": "scratch",
    }  # fmt: skip
    whole = pretrain(place / "pool", place / "whole", **asked)
    plain, seen = Contrast.measure, list[int]()
    # Thrice in the main training, the last time at its end, and at the end of its twin.
    cuts = {1, 4, 13, 25}

    def measure(self: Contrast) -> dict:
        seen.append(1)
        if len(seen) in cuts:
            raise KeyboardInterrupt
        return plain(self)

    monkeypatch.setattr(Contrast, "measure", measure)
    for _ in cuts:
        with pytest.raises(KeyboardInterrupt):
            pretrain(place / "pool", place / "cut", **asked)
    cut = pretrain(place / "pool", place / "cut", **asked)
    for key in ("curves", "steps", "stopped", "losses"):
        assert cut.report[key] == whole.report[key]
    assert cut.report["stopped"].startswith("the probe has not risen")
    for key in ("curves", "steps", "judged"):
        assert cut.report["scratch"][key] == whole.report["scratch"][key]
    assert weights(place / "cut") == weights(place / "whole")
    assert not list((place / "cut" / "checkpoints").iterdir())


def test_a_twin_that_collapses_takes_nothing_with_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Contrast.check

    def check(self: Contrast, points: list, share: float) -> None:
        if self._job.from_scratch and share > 0.5:
            raise TrainingFailed("the embeddings have collapsed", where="step 7", mend="more data")
        plain(self, points, share)

    monkeypatch.setattr(Contrast, "check", check)
    for _ in range(2):  # repeated, it says the same
        report = pretrain(
            place / "pool", place / "run", backbone=start(place), judge=place / "judge",
            settings=settings(), compare="scratch",
        ).report  # fmt: skip
        assert report["scratch"] is None
        said = (
            "The network from random weights did not learn to the end, so nothing is said of it: "
            "the embeddings have collapsed; more data."
        )
        assert said in report["verdict"]["text"]
        assert said in (place / "run" / "report.html").read_text()


def test_a_twin_learns_in_all_its_stages_and_computes_as_the_main_training(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Job] = []

    def opened(self: Contrast, objective: object, job: Job) -> None:
        jobs.append(job)
        plain(self, objective, job)

    plain = Contrast.__init__
    monkeypatch.setattr(Contrast, "__init__", opened)
    asked = settings(epochs=1, bf16=None)
    monkeypatch.setattr(objective, "has_bfloat16", lambda: True)
    common = {"backbone": start(place), "settings": asked, "train": "last:1", "compare": "scratch"}
    with monkeypatch.context() as within:
        within.setattr(Contrast, "findings", lambda _: 1 / 0)  # the main training alone is begun
        with pytest.raises(ZeroDivisionError):
            pretrain(place / "pool", place / "run", **common)
    monkeypatch.setattr(objective, "has_bfloat16", lambda: False)
    report = pretrain(place / "pool", place / "run", **common).report
    assert [job.frozen for job in jobs[1:]] == [2, 0]
    assert report["after"] == report["scratch"]["after"] == {"bf16": True}


def test_random_weights_have_no_twin(place: Path) -> None:
    with pytest.raises(UsageError, match="random weights already"):
        pretrain(place / "pool", place / "run", backbone="random:resnet10t", compare="scratch")


def test_a_twin_without_a_judge_is_not_judged(place: Path) -> None:
    report = pretrain(
        place / "pool", place / "run", backbone=start(place), settings=settings(epochs=1),
        compare="scratch",
    ).report  # fmt: skip
    assert report["scratch"]["judged"] is None


def test_the_judge_reads_earlier_stages_as_a_head_does(place: Path) -> None:
    backbone = open_backbone("random:resnet10t")
    labelled = read(place / "judge")
    evaluator = Evaluator(labelled, backbone, 0)
    x_nd = evaluator.features(build(backbone), labelled.split("train"))
    assert x_nd.shape[1] == with_levels(backbone).width > backbone.width


@pytest.mark.parametrize("good", [0, 11])
def test_collapse_is_said_and_stops_also_when_the_command_is_repeated(
    place: Path, monkeypatch: pytest.MonkeyPatch, good: int
) -> None:
    """Of thirteen points the first are good; the last two are where there is no next step."""
    from regraft.pretraining import contrastive

    plain, seen = contrastive.quality, []

    def collapsed(*given):
        seen.append(1)
        return plain(*given) if len(seen) <= good else contrastive.Quality(0.0, 0.0, 1.0, 0.0)

    monkeypatch.setattr(contrastive, "quality", collapsed)
    with pytest.raises(RegraftError, match="collapsed") as fault:
        steps_of(place, "run", settings())
    count = len(seen)
    monkeypatch.setattr(contrastive, "quality", plain)
    for _ in range(2):
        with pytest.raises(RegraftError, match="collapsed") as again:
            steps_of(place, "run", settings())
        assert again.value.where == fault.value.where
    assert good < count == len(seen) <= 13
    assert not (place / "run/backbone").exists()


@pytest.mark.parametrize("what", ["loss", "norm of the gradients"])
@pytest.mark.parametrize("piece", [16, 8])
def test_what_is_no_number_names_the_batch_and_keeps_the_last_good_state(
    place: Path, monkeypatch: pytest.MonkeyPatch, what: str, piece: int
) -> None:
    from regraft.pretraining import contrastive

    plain, seen = contrastive.nt_xent, []

    def broken(*given):
        seen.append(1)
        loss = plain(*given)
        if len(seen) < 5:
            return loss
        # The root of 0 has a slope that is no number.
        return loss * float("nan") if what == "loss" else loss + (loss - loss).sqrt()

    asked = settings(piece=piece)
    with monkeypatch.context() as patch:
        patch.setattr(contrastive, "nt_xent", broken)
        patch.setattr("regraft.transfer.loop.SAVE_EVERY_S", 0.0)
        patch.setattr("regraft.transfer.loop.SAVING_SHARE", 1e9)
        with pytest.raises(RegraftError, match=f"the {what} is nan at step 5 of") as fault:
            steps_of(place, "run", asked)
    assert ".png" in fault.value.where
    assert len(seen) == 5
    assert steps_of(place, "run", asked) == list(range(5, 13))
    steps_of(place, "whole", asked)
    assert weights(place / "run") == weights(place / "whole")


@pytest.mark.parametrize("budget", [0, -5.0, float("nan")])
def test_a_budget_without_time_is_refused(place: Path, budget: float) -> None:
    with pytest.raises(UsageError, match="not positive"):
        pretrain(place / "pool", place / "run", backbone=start(place), budget=budget)
    assert not (place / "run").exists()


def test_wrong_settings_are_refused(place: Path) -> None:
    with pytest.raises(UsageError):
        Settings(batch=1)
    for wrong in ({"frames": 0}, {"frames": 1}, {"frames": -2}, {"clip_s": 0.0}, {"clip_s": -1.0}):
        with pytest.raises(UsageError, match="frames" if "frames" in wrong else "clip"):
            Settings(**wrong)
    with pytest.raises(UsageError, match="whole_words") as refused:
        settings_of("contrastive", {"whole_words": True, "size_px": None})
    assert refused.value.where == "--whole-words"
    with pytest.raises(UsageError) as refused:
        settings_of("masked-language", {"clip_s": 6.0, "size_px": 32})
    assert refused.value.where == "--clip, --size"
    with pytest.raises(UsageError, match="epochs 0"):
        settings_of("contrastive", {"epochs": 0, "bf16": False})
    with pytest.raises(UsageError):
        pretrain(place / "pool", place / "run", objective="guessing")
    with pytest.raises(UsageError):
        pretrain(place / "pool", place / "run2", backbone=start(place), train="head")


def test_too_few_pictures_are_a_fault_of_the_data(place: Path) -> None:
    for path in list((place / "pool").rglob("*.png"))[3:]:
        path.unlink()
    with pytest.raises(DataError, match="too few pictures to tell apart: 3") as fault:
        pretrain(place / "pool", place / "run", backbone=start(place))
    assert fault.value.exit_code == 1


def test_a_judge_of_another_kind_is_refused(place: Path) -> None:
    texts = place / "texts.csv"
    rows = [f"{word} number {i},{word}" for i in range(20) for word in ("red", "blue")]
    texts.write_text("\n".join(["text,label", *rows]))
    with pytest.raises(UsageError, match="text-classification"):
        pretrain(place / "pool", place / "run", backbone=start(place), judge=texts)


def test_a_network_that_finds_objects_is_refused(place: Path) -> None:
    text = NETWORK.replace(", nn.AdaptiveAvgPool2d(1), nn.Flatten()", "")
    text = text.replace("size_px=32)", 'size_px=32, whole=True), Detector("dense", (), (8,), 6)')
    head = "from regraft.backbones.backbone import Detector\n"
    (place / "finder.py").write_text(head + text)
    network = f"local:{place / 'finder.py'}:tiny"
    with pytest.raises(UsageError, match="finds objects"):
        pretrain(place / "pool", place / "run", backbone=network)


def test_random_weights_at_a_size_of_ones_own(place: Path) -> None:
    done = pretrain(
        place / "pool", place / "run", backbone="random:resnet10t",
        settings=settings(size_px=32, epochs=1, bf16=True),
    )  # fmt: skip
    assert done.report["backbone"]["preprocessing"]["size_px"] == 32
    assert open_backbone(str(done.folder)).preprocessing.size_px == 32


def test_a_network_for_one_size_alone_is_not_given_another(place: Path) -> None:
    end = "nn.Sequential(nn.Flatten(), nn.Linear(16 * 8 * 8, 24))"
    text = NETWORK.replace("    end = nn", f"    end = {end}\n    other = nn")
    (place / "net.py").write_text(text)
    pytest.importorskip("timm")
    for out, name in (("flat", start(place)), ("vit", "random:vit_tiny_patch16_224")):
        with pytest.raises(UsageError, match="not for 96 px") as refused:
            pretrain(place / "pool", place / out, backbone=name, settings=settings(size_px=96))
        assert refused.value.where == "--size"


def test_the_judge_counts_as_fit_does_where_one_class_is_rare(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network to which all samples look alike is no better for saying the frequent class."""
    for split in ("train", "valid"):
        for name in sorted((place / "judge" / split / "across").iterdir())[2:]:
            name.unlink()
    backbone = open_backbone(start(place))
    evaluator = Evaluator(regraft.load(place / "judge"), backbone, 0)
    assert evaluator.task.metric_name == "balanced_accuracy"
    blind = lambda self, network, samples: np.zeros((len(samples), 4), np.float32)  # noqa: E731
    monkeypatch.setattr(Evaluator, "features", blind)
    assert set(evaluator.probe(build(backbone)).values()) == {0.5}


@pytest.mark.parametrize(
    ("budget_s", "steps"), [(None, 300), (6.0, 30), (60.0, 300), (0.1, 20), (2000.0, 1000)]
)
def test_the_judges_fine_tuning_keeps_to_the_budget(
    budget_s: float | None, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regraft.pretraining import judge_tuned

    monkeypatch.setattr(judge_tuned, "MOST_STEPS", 10_000)
    assert judge_tuned.affordable(budget_s, 0.2) == steps
