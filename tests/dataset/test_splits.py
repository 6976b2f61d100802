from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from regraft.dataset.splits import SHARES, Unit, divide


def singles(*counts: int) -> list[Unit]:
    return [Unit(f"{c}-{i}", (c,), 1) for c, count in enumerate(counts) for i in range(count)]


def shares_of(units: list[Unit], label: int, seed: int = 0) -> Counter[str]:
    splits = divide(units, SHARES, seed)
    return Counter(s for u, s in zip(units, splits, strict=True) if label in u.labels)


def test_each_class_is_divided_as_a_whole_would_be() -> None:
    units = singles(1000, 100, 20)
    assert shares_of(units, 0) == {"train": 700, "valid": 150, "test": 150}
    assert shares_of(units, 1) == {"train": 70, "valid": 15, "test": 15}
    assert shares_of(units, 2) == {"train": 14, "valid": 3, "test": 3}


def test_small_classes_are_wherever_they_can_be() -> None:
    units = singles(1, 2, 3, 4)
    assert shares_of(units, 0) == {"train": 1}
    assert shares_of(units, 1) == {"train": 1, "valid": 1}
    assert shares_of(units, 2) == {"train": 1, "valid": 1, "test": 1}
    assert shares_of(units, 3) == {"train": 2, "valid": 1, "test": 1}


def test_order_of_the_rows_does_not_matter_but_the_seed_does() -> None:
    units = singles(50, 30)
    splits = dict(zip((u.key for u in units), divide(units, SHARES, 0), strict=True))
    backwards = units[::-1]
    assert splits == dict(
        zip((u.key for u in backwards), divide(backwards, SHARES, 0), strict=True)
    )
    assert splits != dict(zip((u.key for u in units), divide(units, SHARES, 1), strict=True))


def test_samples_added_later_move_few_others() -> None:
    units = singles(200, 100)
    before = divide(units, SHARES, 0)
    for count in (1, 5, 20):
        more = [*units, *(Unit(f"new {i}", (0,), 1) for i in range(count))]
        after = divide(more, SHARES, 0)
        moved = sum(a != b for a, b in zip(before, after, strict=False))
        assert moved <= count + 1


def test_a_large_group_does_not_starve_train() -> None:
    for seed in range(20):
        units = [Unit("large", (0,), 100), *(Unit(str(i), (0,), 1) for i in range(4))]
        splits = divide(units, SHARES, seed)
        assert splits[0] == "train"
        assert {"valid", "test"} <= set(splits)


def test_of_two_groups_the_small_one_is_in_valid() -> None:
    units = [Unit(key, (c,), size) for key, c, size in (("a", 0, 8), ("b", 0, 2), ("c", 1, 8))]
    units.append(Unit("d", (1,), 2))
    for seed in range(20):
        assert divide(units, SHARES, seed) == ["train", "valid", "train", "valid"]


def test_rare_labels_reach_every_split_where_samples_have_several() -> None:
    units = [Unit(str(i), (0, 1) if i % 20 == 0 else (1,), 1) for i in range(200)]
    units += [Unit(f"none {i}", (), 1) for i in range(20)]
    assert shares_of(units, 0) == {"train": 6, "valid": 2, "test": 2}
    common = shares_of(units, 1)
    assert abs(common["valid"] - 30) <= 2 and abs(common["test"] - 30) <= 2


@st.composite
def several_labels(draw: st.DrawFn) -> list[Unit]:
    count = draw(st.integers(1, 40))
    labels = st.sets(st.integers(0, 4), max_size=3).map(lambda s: tuple(sorted(s)))
    return [Unit(f"k{i}", draw(labels), draw(st.integers(1, 5))) for i in range(count)]


@given(units=several_labels(), seed=st.integers(0, 3))
def test_no_class_is_missing_from_train(units: list[Unit], seed: int) -> None:
    splits = divide(units, SHARES, seed)
    assert len(splits) == len(units)
    everything = {label for unit in units for label in unit.labels}
    trained = {c for u, s in zip(units, splits, strict=True) if s == "train" for c in u.labels}
    assert trained == everything


@given(counts=st.lists(st.integers(1, 30), min_size=1, max_size=5), seed=st.integers(0, 3))
def test_three_groups_are_enough_for_three_splits(counts: list[int], seed: int) -> None:
    units = singles(*counts)
    for label, count in enumerate(counts):
        assert len(shares_of(units, label, seed)) == min(count, 3)
