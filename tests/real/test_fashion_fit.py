"""`fit` on real pictures: Fashion-MNIST with 100 labels in all, the head and the last stage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import regraft
from regraft.verbs import Fitted

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def sets() -> tuple[Path, Path]:
    """100 labelled pictures, and 200 that nobody has seen."""
    data = pytest.importorskip("bench.data")
    try:
        return data.fashion_folder(labels=100, draw=0), data.fashion_test(pictures=200)
    except data.Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def fitted(sets: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fitted]:
    """In a cache of its own: an engine that is exact keeps the judgement of whoever compiled it."""
    learn, unseen = sets
    folder = tmp_path_factory.mktemp("fashion")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(folder / "cache"))
        yield regraft.fit(learn, folder / "run", test=unseen, train="last:1")


def test_it_learns_from_a_hundred_labels(fitted: Fitted) -> None:
    test = fitted.report["test"]
    assert test["value"] > 0.55, "chance is 0.1"
    assert test["low"] < test["value"] < test["high"]
    assert [rung["name"] for rung in fitted.report["rungs"]] == ["head", "last:1"]
    assert all(rung["frozen_intact"] for rung in fitted.report["rungs"])


def test_the_engine_was_judged_on_these_pictures(fitted: Fitted) -> None:
    parity = fitted.report["engine"]["parity"]
    assert parity["samples"] == 64
    assert parity["median"] >= 0.999 and parity["minimum"] >= 0.99


def test_what_was_measured_once_is_measured_again(fitted: Fitted, sets: tuple[Path, Path]) -> None:
    again = regraft.evaluate(fitted.folder, sets[1])
    assert again["metric"]["value"] == pytest.approx(fitted.report["test"]["value"])


def test_another_thing_is_unlike_the_training_data(fitted: Fitted, tmp_path: Path) -> None:
    image = pytest.importorskip("bench.data").scikit_learn_photos()[0]
    (answer,) = regraft.predict(fitted.folder, [image])
    assert answer["unlike_training"]
