"""Which texts of a pool are held out."""

from __future__ import annotations

import pytest

from regraft.dataset import Sample
from regraft.errors import DataError
from regraft.pretraining.held import HELD_BYTES, HELD_LEAST, held_out


def text(sample: Sample) -> str:
    return str(sample.source)


def test_near_copies_are_held_out_together() -> None:
    samples = [Sample(str(i), f"{i}", None, group=f"g{i % 10}") for i in range(100)]
    learn, held = held_out(samples, 0)
    assert len(held) == 10
    assert len({s.group for s in held}) == 1
    assert len(learn) + len(held) == 100
    for alone in (samples[:1], samples[::10]):
        with pytest.raises(DataError, match="only one text"):
            held_out(alone, 0)


def test_hardly_more_is_held_out_than_is_measured_on() -> None:
    samples = [Sample(str(i), "some words " * 500, None) for i in range(2000)]
    learn, held = held_out(samples, 0)
    assert len(learn) + len(held) == 2000
    assert 0.8 * HELD_BYTES < sum(len(text(s)) for s in held) <= HELD_BYTES


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("word", ["word ", "\u5b57", "wordswithoutspaces"])
def test_of_a_few_long_texts_the_end_of_one_is_held_out(count: int, word: str) -> None:
    long = word * (HELD_BYTES // len(word.encode()))
    samples = [Sample(str(i), long, None) for i in range(count)]
    learn, held = held_out(samples, 0)
    assert len(learn) == count and len(held) == 1
    total = count * len(long.encode())
    assert 0.04 < len(text(held[0]).encode()) / total < 0.051
    (begin,) = (sample for sample in learn if sample.id == held[0].id)
    assert text(begin) + text(held[0]) == long


@pytest.mark.parametrize("seed", range(30))
def test_a_large_set_of_copies_is_not_held_out_where_another_text_is_there(seed: int) -> None:
    copies = [Sample(str(i), "some words " * 10, None, group="copies") for i in range(900)]
    samples = [*copies, *(Sample(f"alone {i}", "other words " * 10, None) for i in range(10))]
    learn, held = held_out(samples, seed)
    assert 0 < len(held) <= 10
    assert len(learn) + len(held) == len(samples)
    assert all(s.group == "" for s in held)


def test_where_all_sets_of_copies_are_large_the_smallest_is_held_out() -> None:
    sizes = {"a": 500, "b": 400, "c": 450}
    samples = [Sample(f"{name}{i}", "some words " * 10, None, group=name)
               for name, count in sizes.items() for i in range(count)]  # fmt: skip
    learn, held = held_out(samples, 0)
    assert {s.group for s in held} == {"b"}
    assert len(held) == 400 and len(learn) == 950


def test_a_small_pool_holds_out_a_text_as_a_whole() -> None:
    samples = [Sample(str(i), "w" * (HELD_LEAST // 4), None) for i in range(10)]
    learn, held = held_out(samples, 0)
    assert len(held) == 1 and len(learn) == 9


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("sizes", [[1900, 300], [1900, 300, 300], [1500, 1500]])
def test_of_a_small_pool_no_more_than_half_is_held_out(seed: int, sizes: list[int]) -> None:
    samples = [Sample(str(i), "w" * size, None) for i, size in enumerate(sizes)]
    learn, held = held_out(samples, seed)
    assert learn and 0 < sum(len(text(s)) for s in held) <= sum(sizes) / 2
