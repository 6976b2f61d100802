"""Planted errors are found, and their share is told; contradicting copies are named."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("cleanlab")

from regraft.dataset import Dataset, Sample, read_all
from regraft.labelling import findings
from regraft.labelling.likely_errors import Judged, judge, lone_classes, why_not
from regraft.labelling.share import wrong_share
from regraft.tasks.clusters import folds


def _clouds(count: int, wrong: float, seed: int):
    """Four overlapping clouds, their labels, and which of them were planted wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, count)
    x_nd = rng.normal(size=(count, 12)).astype(np.float32)
    x_nd[np.arange(count), truth] += 3.0
    planted = rng.random(count) < wrong
    given = np.where(planted, (truth + rng.integers(1, 4, count)) % 4, truth)
    return x_nd, given, planted


def _judge(x_nd, given, clusters=None, classes=4):
    target_nc = np.eye(classes, dtype=np.float32)[given]
    return judge(lambda rows: x_nd[rows], target_nc, clusters or [""] * len(x_nd), exclusive=True)


@pytest.mark.parametrize("wrong", [0.05, 0.2])
def test_planted_errors_come_first_and_their_share_is_within_the_interval(wrong: float):
    metrics = pytest.importorskip("sklearn.metrics")
    x_nd, given, planted = _clouds(1500, wrong, seed=1)
    judged = _judge(x_nd, given)
    assert metrics.average_precision_score(planted, -judged.quality_n) > 0.85
    share = wrong_share(given, (judged.first_nc, judged.chance_nc))
    assert share.low - 0.01 <= planted.mean() <= share.high + 0.01
    assert judged.suspect_n[planted].mean() > 0.7


def test_no_answer_comes_from_a_model_that_saw_the_sample_or_its_copy():
    # Features without any meaning: whoever sees a label can only remember it.
    rng = np.random.default_rng(0)
    half = rng.normal(size=(150, 300)).astype(np.float32)
    label = rng.integers(0, 4, 150)
    x_nd, given = np.concatenate([half, half]), np.concatenate([label, label])
    clusters = [f"pair {i}" for i in range(150)] * 2
    judged = _judge(x_nd, given, clusters)
    assert (judged.first_nc.argmax(axis=1) == given).mean() < 0.35
    fold_n = folds(np.eye(4, dtype=np.float32)[given], clusters, 0, 5)
    assert (fold_n[:150] == fold_n[150:]).all() and len(set(fold_n)) == 5


def test_labels_of_one_group_alone_are_not_judged():
    given = np.arange(40) % 2
    dataset = _dataset(given)
    assert not why_not(dataset)
    assert "one group" in why_not(dataset.with_samples(replace(s, group="g") for s in dataset))
    assert "Too few" in why_not(dataset.with_samples(dataset.samples[:19]))


def test_a_class_of_one_group_is_not_judged_by_models_that_never_saw_it():
    """The clips of one file: whoever judges them was shown no other of their class."""
    rng = np.random.default_rng(0)
    given = np.repeat([0, 1, 2, 3], [30, 30, 30, 12])
    x_nd = (np.eye(4)[given] * 4 + rng.normal(size=(102, 4))).astype(np.float32)
    groups = ["" if c < 3 else "file" for c in given]
    judged = _judge(x_nd, given, groups)
    lone_n = given == 3
    assert (judged.first_nc[lone_n].argmax(axis=1) == 3).all()
    assert not judged.suspect_n[lone_n].any()
    assert (judged.first_nc[~lone_n].argmax(axis=1) == given[~lone_n]).mean() > 0.9

    dataset = _dataset(given)
    dataset = dataset.with_samples(
        replace(s, group=group) for s, group in zip(dataset, groups, strict=True)
    )
    assert lone_classes(dataset) == [dataset.classes[3]]
    assert not why_not(dataset)
    assert "Each class" in why_not(
        dataset.with_samples(replace(s, group=f"file {s.target}") for s in dataset)
    )


def test_the_penalty_is_not_chosen_by_copies():
    # Each sample stands five times: with copies on both sides any penalty but the weakest loses.
    rng = np.random.default_rng(0)
    one = rng.integers(0, 4, 120)
    x_nd = np.repeat(rng.normal(size=(120, 256)) + np.eye(4, 256)[one], 5, axis=0)
    groups = [f"group {i // 5}" for i in range(600)]
    apart, together = (
        _judge(x_nd.astype(np.float32), np.repeat(one, 5), clusters).penalty
        for clusters in (None, groups)
    )
    assert together > apart


def test_what_many_wrong_labels_hide_is_found_by_a_weaker_penalty_in_the_second_round():
    # What tells the classes apart lies along the least axes, which a strong penalty passes over;
    # with the first round's penalty in both rounds the mean of these is 0.68.
    metrics = pytest.importorskip("sklearn.metrics")
    found = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, 2, 800)
        size_d = 1 / np.arange(1, 101) ** 0.7
        x_nd = rng.normal(size=(800, 100)) * size_d
        x_nd[:, -10:] += 0.5 * (2 * truth - 1)[:, None] * size_d[-10:]
        planted = rng.random(800) < 0.2
        judged = _judge(x_nd.astype(np.float32), np.where(planted, 1 - truth, truth), classes=2)
        found.append(metrics.average_precision_score(planted, -judged.quality_n))
    assert np.mean(found) > 0.74


@pytest.mark.parametrize("seed", range(2))
def test_few_large_features_outweigh_many_small_ones_neither_in_one_division_nor_another(seed: int):
    # Which features are there tells the class, how large they are does not.
    metrics = pytest.importorskip("sklearn.metrics")
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, 600)
    own_cd = np.eye(3, dtype=bool).repeat(20, axis=1)
    is_there_nd = rng.random((600, 60)) < np.where(own_cd, 0.7, 0.3)[truth]
    x_nd = (is_there_nd * rng.lognormal(0, 1.5, (600, 60))).astype(np.float32)
    planted = rng.random(600) < 0.1
    given = np.where(planted, (truth + rng.integers(1, 3, 600)) % 3, truth)
    target_nc = np.eye(3, dtype=np.float32)[given]
    first, second = (
        judge(lambda rows: x_nd[rows], target_nc, [""] * 600, exclusive=True, seed=one).quality_n
        for one in (0, 1)
    )
    assert metrics.average_precision_score(planted, -first) > 0.75  # of features as they are, 0.37
    assert stats.spearmanr(first, second)[0] > 0.965  # of one division each, 0.955


def _dataset(given, sha=None, names=("a", "b", "c", "<script>")) -> Dataset:
    sha = sha or [f"{n:064x}" for n in range(len(given))]
    samples = tuple(
        Sample(
            f"{n}.png", Path(f"{n}.png"), int(c), sha256=sha[n], group=sha[n] * sha.count(sha[n])
        )
        if sha.count(sha[n]) == 1
        else Sample(
            f"{n}.png", Path(f"{n}.png"), int(c), sha256=sha[n], group=sha[n], copies=sha[n]
        )
        for n, c in enumerate(given)
    )
    return Dataset(Path(), "image-classification", names, samples)


def test_findings_are_ranked_and_say_why():
    x_nd, given, planted = _clouds(600, 0.1, seed=2)
    sha = [f"{n:064x}" for n in range(600)]
    first = int(np.flatnonzero(~planted)[0])
    other = next(n for n in range(600) if given[n] != given[first])
    sha[other] = sha[first]
    dataset = _dataset(given, sha)
    found = findings.likely_errors(dataset, _judge(x_nd, given))
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)
    assert planted[[one.row for one in found[:20]]].mean() > 0.9
    assert findings.conflicts(dataset.samples) == [sorted([first, other])]
    assert findings.contradicted(dataset.samples) == 1


def test_every_label_that_was_judged_has_a_score_and_they_rank_better_than_the_suspects_alone():
    metrics = pytest.importorskip("sklearn.metrics")
    x_nd, given, planted = _clouds(600, 0.2, seed=2)
    dataset, judged = _dataset(given), _judge(x_nd, given)
    errors = findings.likely_errors(dataset, judged)
    rows = findings.scores(dataset, judged, errors)
    assert [row["sample"] for row in rows if row["suspect"]] == [
        dataset.samples[one.row].id for one in errors
    ]
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert all(row["given"] != row["suggested"] for row in rows)
    score = {row["sample"]: row["score"] for row in rows}
    assert set(score) == {sample.id for sample in dataset}
    of_all = metrics.average_precision_score(planted, [score[s.id] for s in dataset])
    assert of_all == metrics.average_precision_score(planted, -judged.quality_n)
    listed = {dataset.samples[one.row].id: one.score for one in errors}
    of_list = metrics.average_precision_score(planted, [listed.get(s.id, -1) for s in dataset])
    assert of_all > of_list + 0.02


def test_labels_that_people_confirmed_have_no_score_any_more():
    x_nd, given, _ = _clouds(600, 0.1, seed=2)
    dataset, judged = _dataset(given), _judge(x_nd, given)
    worst = findings.likely_errors(dataset, judged)[0].row
    settled = frozenset({dataset.samples[worst].id})
    errors = findings.likely_errors(dataset, judged, settled)
    rows = findings.scores(dataset, judged, errors, settled)
    assert rows[0]["suspect"] and rows[0]["sample"] == dataset.samples[errors[0].row].id
    assert len(rows) == 599 and settled.isdisjoint({row["sample"] for row in rows})


def test_of_copies_that_contradict_each_other_the_wrong_one_is_named():
    x_nd, given, planted = _clouds(600, 0.0, seed=2)
    first, other = 0, next(n for n in range(600) if given[n] != given[0])
    x_nd[other] = x_nd[first]
    sha = [f"{n:064x}" for n in range(600)]
    sha[other] = sha[first]
    dataset, judged = _dataset(given, sha), _judge(x_nd, given)

    def named(settled=frozenset(), looked_at=frozenset()):
        found = findings.likely_errors(dataset, judged, settled, looked_at)
        return [one for one in found if "same content" in one.reason]

    (wrong,) = named()
    assert wrong.row == other and dataset.classes[given[first]] == wrong.suggested
    (wrong,) = named(frozenset([dataset.samples[other].id]))  # a person says otherwise
    assert wrong.row == first and dataset.classes[given[other]] == wrong.suggested
    both = frozenset(dataset.samples[n].id for n in (first, other))
    assert named(both) == []
    (shown,) = named(both, both)
    assert shown.row in (first, other)
    assert shown.facts(dataset)["given"] == dataset.classes[given[shown.row]]


def test_near_copies_are_not_called_the_same():
    x_nd, given, _ = _clouds(600, 0.0, seed=2)
    others = [n for n in range(600) if given[n] != given[0]][:2]
    sha = [f"{n:064x}" for n in range(600)]
    sha[others[0]] = sha[0]
    dataset = _dataset(given, sha)
    near = replace(dataset.samples[others[1]], group=sha[0], copies=sha[0])
    dataset = dataset.with_samples(
        near if n == others[1] else sample for n, sample in enumerate(dataset)
    )
    settled, judged = frozenset([dataset.samples[0].id]), _judge(x_nd, given)
    sure = {one.row for one in findings.likely_errors(dataset, judged, settled)}
    assert others[0] in sure and others[1] not in sure  # what looks alike may be of two classes
    judged.quality_n[others[1]] = 0.4
    said = {one.row: one.reason for one in findings.likely_errors(dataset, judged, settled)}
    which = 'which is labelled "<script>".'
    assert said[others[0]] == f"The same content as 0.png, {which}"
    assert said[others[1]] == f"Nearly the same content as 0.png, {which}"


def test_what_a_doubtful_copy_is_labelled_is_no_suggestion():
    x_nd, given, _ = _clouds(600, 0.0, seed=2)
    truth = given[0]
    first, other = (n for n in np.flatnonzero(given == truth)[:2])
    given = given.copy()
    given[first], given[other] = (truth + 1) % 4, (truth + 2) % 4
    x_nd[[first, other]] = 4.0 * np.eye(12)[truth]
    dataset = _dataset(given, [f"{n:064x}" for n in range(600)])
    samples = list(dataset)
    samples[other] = replace(samples[other], sha256=samples[first].sha256)
    dataset, judged = dataset.with_samples(samples), _judge(x_nd, given)
    assert judged.suspect_n[[first, other]].all()
    found = {one.row: one for one in findings.likely_errors(dataset, judged)}
    assert found[first].classes == found[other].classes == (truth,)


def test_copies_contradict_each_other_in_whatever_group_they_are(tmp_path):
    blots = [np.random.default_rng(n).integers(0, 256, (8, 8, 3), dtype=np.uint8) for n in range(3)]
    for n, side_px in enumerate((128, 128, 128, 128, 96)):  # 3 is 0 again, 4 is a smaller 1
        picture = Image.fromarray(blots[n % 3]).resize((128, 128), Image.Resampling.BICUBIC)
        picture.resize((side_px, side_px), Image.Resampling.BICUBIC).save(tmp_path / f"{n}.png")
    rows = ["0.png,cat,ann", "1.png,cat,ann", "2.png,cat,ann", "3.png,dog,ann", "4.png,dog,ben"]
    (tmp_path / "pictures.csv").write_text("\n".join(["path,label,group", *rows]))
    dataset = read_all(tmp_path / "pictures.csv")
    assert {sample.group for sample in dataset} == {"ann"}
    assert findings.conflicts(dataset.samples) == [[0, 3], [1, 4]]


def test_mails_of_one_thread_are_no_copies_but_equal_ones_are(tmp_path):
    def mail(number: int) -> str:
        letters = np.random.default_rng(number).integers(97, 123, (60, 6))
        body = " ".join("".join(map(chr, word)) for word in letters)
        return f"From: a@b\nSubject: x\nMessage-ID: <{number}@h>\nIn-Reply-To: <0@h>\n\n{body}"

    rows = [(mail(0), "ham"), (mail(1), "spam"), (mail(1), "ham"), (mail(2), "spam")]
    with (tmp_path / "mails.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    samples = read_all(tmp_path / "mails.csv").samples
    assert len({sample.group for sample in samples}) == 1
    told = [{samples[n].source for n in copies} for copies in findings.conflicts(samples)]
    (copies,) = told
    body = mail(1).partition("\n\n")[2]
    assert copies == {f"x\n\n{body}"}


def test_a_share_is_not_surer_than_so_few_labels_allow():
    x_nd, given, _ = _clouds(200, 0.0, seed=4)
    x_nd[np.arange(200), given] += 20
    judged = _judge(x_nd, given)
    answers = (judged.first_nc, judged.chance_nc)
    share = wrong_share(given, answers)
    assert share.value < 0.002 and 1 - 0.025 ** (1 / 200) <= share.high < 0.03
    pairs = [f"pair {n // 2}" for n in range(200)]
    assert wrong_share(given, answers, clusters=pairs).high > 0.03
    known = wrong_share(given, answers, surely=0.1)
    assert known.value == known.low == 0.1 < known.high


def test_samples_that_belong_together_are_no_more_evidence_than_one_for_the_share():
    rng = np.random.default_rng(0)
    given = np.repeat(np.arange(40) % 2, 10)
    wrong = np.repeat(np.arange(40) % 5 == 0, 10)  # whole clusters are labelled wrongly
    truth = np.where(wrong, 1 - given, given)
    sure_n = 1 / (1 + np.exp(-rng.normal(3, 1.5, 400)))
    chance_nc = np.where(truth[:, None] == np.arange(2), sure_n[:, None], 1 - sure_n[:, None])
    answers = (chance_nc,) * 2
    alone = wrong_share(given, answers)
    together = wrong_share(given, answers, clusters=[f"file {n // 10}" for n in range(400)])
    assert together.value == pytest.approx(alone.value)
    assert together.high - together.low > 2 * (alone.high - alone.low)


@pytest.mark.parametrize("strangers", [1, 5])
def test_samples_unlike_all_others_are_named_also_beside_one_farther_away(strangers: int):
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    x_nd = (digits.data[:800] / 16).astype(np.float32)
    rng = np.random.default_rng(0)
    noisy = list(range(strangers))
    x_nd[noisy] = rng.random((strangers, 64))
    dataset = _dataset(digits.target[:800], names=tuple("0123456789"))

    def named() -> list[str]:
        judged = _judge(x_nd, digits.target[:800], classes=10)
        return [row["sample"] for row in findings.outliers(dataset, judged)]

    assert set(named()) == {f"{n}.png" for n in noisy}
    x_nd[strangers] = 0  # a blank one, much farther from the rest than noise
    first, *others = named()
    assert first == f"{strangers}.png" and set(others) == {f"{n}.png" for n in noisy}
    grouped = [replace(one, group="one file") if n < 2 else one for n, one in enumerate(dataset)]
    dataset = dataset.with_samples(grouped)
    assert sum(name in ("0.png", "1.png") for name in named()) == 1


def test_of_several_classes_the_one_that_fits_least_is_doubted():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    applies_nc = rng.random((600, 3)) < 0.4
    x_nd = (rng.normal(size=(600, 8)) * 0.5).astype(np.float32)
    x_nd[:, :3] += 2 * applies_nc
    planted = rng.random(600) < 0.1
    given_nc = applies_nc.copy()
    changed_n = rng.integers(0, 3, 600)
    given_nc[planted, changed_n[planted]] ^= True
    target_nc = given_nc.astype(np.float32)
    judged = judge(lambda rows: x_nd[rows], target_nc, [""] * 600, exclusive=False)
    assert metrics.average_precision_score(planted, -judged.quality_n) > 0.9

    samples = tuple(
        Sample(f"{n}.png", Path(f"{n}.png"), tuple(np.flatnonzero(row).tolist()), f"{n:064x}")
        for n, row in enumerate(given_nc)
    )
    dataset = Dataset(Path(), "image-classification", ("a", "b", "c"), samples, multilabel=True)
    found = findings.likely_errors(dataset, judged)
    assert [one.row for one in found] == sorted(
        np.flatnonzero(judged.quality_n < 0.1), key=lambda n: judged.quality_n[n]
    )
    right = [one for one in found if one.classes == tuple(np.flatnonzero(applies_nc[one.row]))]
    assert len(right) > 0.75 * planted.sum() and len(right) > 0.7 * len(found)
    for one in found:
        (changed,) = set(one.classes) ^ set(samples[one.row].target)
        name, is_given = dataset.classes[changed], changed in samples[one.row].target
        assert one.reason.startswith(f"Models that never saw it give {name} ")
        assert one.reason.endswith("it is given." if is_given else "it is not given.")
        labels = (samples[one.row].target, one.classes)
        written = [one.facts(dataset)[name] for name in ("given", "suggested")]
        assert written == ["|".join(dataset.classes[c] for c in some) or "none" for some in labels]
    assert findings.same_classes(dataset, judged) == []


@pytest.mark.parametrize(
    ("names", "target", "said"),
    [
        (("crow", "raven"), 0, "give raven 96 % and crow 4 %."),
        (("5", "6"), 0, 'give "6" 96 % and "5" 4 %.'),
        (("5", "6"), (0, 1), 'give "5" 4 %, and it is given.'),
    ],
)
def test_classes_that_are_numbers_are_told_from_chances(names, target, said):
    chance_nc = np.array([[0.04, 0.96]])
    judged = Judged(chance_nc, chance_nc, chance_nc[:, 0], np.array([True]), np.ones(1), 1e-2)
    sample = Sample("a.png", Path("a.png"), target, sha256="a" * 64)
    several = isinstance(target, tuple)
    dataset = Dataset(Path(), "image-classification", names, (sample,), multilabel=several)
    (one,) = findings.likely_errors(dataset, judged)
    assert one.reason == f"Models that never saw it {said}"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("emptied", [0, 3])
def test_a_class_that_reviewers_emptied_is_passed_over_without_a_warning(emptied: int):
    x_nd, given, planted = _clouds(300, 0.1, seed=2)
    given = np.where(given == emptied, 2 if emptied == 3 else 1, given)
    judged = _judge(x_nd, given)
    assert judged.suspect_n[planted].mean() > 0.5
    findings.same_classes(_dataset(given), judged)


def test_two_names_for_one_class_are_noticed():
    x_nd, given, _ = _clouds(800, 0.0, seed=3)
    rng = np.random.default_rng(0)
    given = np.where((given == 1) & (rng.random(800) < 0.5), 0, given)  # half of 1 is called 0
    given = np.where((given == 0) & (rng.random(800) < 0.5), 1, given)
    x_nd[:, 0] = np.where(np.isin(given, (0, 1)), rng.normal(3, 1, 800), x_nd[:, 0])
    x_nd[:, 1] = np.where(np.isin(given, (0, 1)), rng.normal(0, 1, 800), x_nd[:, 1])
    rows = findings.same_classes(_dataset(given), _judge(x_nd, given))
    assert [row["classes"] for row in rows] == [["a", "b"]]


def _pairs(count: int, apart: float, wrong: float, kind: str, seed: int):
    """Clouds of ten classes, each close to its twin; labels, and which were planted wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 10, count)
    middle_cd = rng.normal(size=(10, 32))
    middle_cd[1::2] = middle_cd[::2] + apart * rng.normal(size=(5, 32))
    x_nd = (1.2 * middle_cd[truth] + rng.normal(size=(count, 32))).astype(np.float32)
    planted = rng.random(count) < wrong
    other = (truth + rng.integers(1, 10, count)) % 10 if kind == "uniform" else truth ^ 1
    return x_nd, np.where(planted, other, truth), planted


@pytest.mark.parametrize(
    ("apart", "wrong", "kind"),
    [
        (0.25, 0.0, "similar"),  # a probe is right on three of four
        (0.25, 0.05, "similar"),
        (0.25, 0.2, "similar"),
        (0.45, 0.05, "uniform"),
        (0.8, 0.0, "uniform"),
        (0.8, 0.1, "similar"),
    ],
)
def test_overlap_of_similar_classes_is_not_taken_for_wrong_labels(
    apart: float, wrong: float, kind: str
):
    x_nd, given, planted = _pairs(800, apart, wrong, kind, seed=5)
    judged = _judge(x_nd, given, classes=10)
    share = wrong_share(given, (judged.first_nc, judged.chance_nc))
    assert share.low <= planted.mean() <= share.high < planted.mean() + 0.16
