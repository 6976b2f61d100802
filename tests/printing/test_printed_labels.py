"""What is said of labels."""

from __future__ import annotations

import pytest
from consoles import printed

from regraft import printing
from regraft.dataset import guard
from regraft.labelling.found import nothing


@pytest.mark.parametrize(
    ("probability", "said"),
    [(0.5, "and not what they are ordered by."), (None, "is the share of the pool")],
)
def test_lists_of_labels_say_what_they_are_ordered_by(probability: float | None, said: str) -> None:
    row = {"sample": "a.png", "given": "cat", "suggested": "dog", "score": 0.5, "reason": "why",
           "probability": probability}  # fmt: skip
    text = row | {"sample": "line 3", "excerpt": "how the text begins"}
    found = nothing() | {"likely_errors": [row, text], "next": [row, row]}
    lines = printed(200, printing.print_labels, found).splitlines()
    assert any("line 3  how the text begins" in line for line in lines)
    errors = lines.index("Labels that are likely wrong, by score, which is 1 at most.")
    assert lines[errors + 1].split() == ["sample", "given", "suggested", "score", "reason"]
    after = next(n for n, line in enumerate(lines) if line.startswith("What to label next"))
    assert said in lines[after]
    assert lines[after + 1].split() == ["sample", "suggested", "score", "reason"]
    assert lines[after - 1] == ""


def test_what_was_left_out_of_a_pool_is_counted() -> None:
    kinds = ("labelled", "labelled", "bad\n")
    rows = [{"kind": kind, "where": "a.png", "what": "why"} for kind in kinds]
    found = nothing() | {"pool": {"path": "pool", "samples": 3, "left_out": rows}}
    text = printed(200, printing.print_labels, found).strip()
    assert text == (
        "3 of the pool left out (2 copies of what is labelled, 1 bad\\n); --json lists them."
    )
    assert "left out" not in printed(
        200, printing.print_labels, found | {"pool": found["pool"] | {"left_out": []}}
    )


def test_files_in_the_caution_are_named_as_people_write_them() -> None:
    said = "1 picture was set aside on reading (damaged): {}."
    found = nothing() | {"caution": said.format(guard.shown("a\\b\a.png"))}
    text = printed(200, printing.print_labels, found).strip()
    assert text == said.format("a\\b\\x07.png")


def test_classes_and_samples_in_doubt_are_named_on_a_line_each() -> None:
    found = nothing() | {
        "same_classes": [
            {"classes": ["crow", "raven"], "apart": 0.551}, {"classes": ["3", "8"], "apart": 0.6},
        ],
        "outliers": [{"sample": f"{n}\n.png"} for n in range(7)],
        "agreement": {
            "alpha": {"value": None}, "place": None, "are_steps": False,
            "divided": [{"sample": "a.png"}, {"sample": "b.png"}],
        },
        "consensus": {"why": "Few votes."},
    }  # fmt: skip
    lines = printed(200, printing.print_labels, found).splitlines()
    assert lines[-3:] == [
        "Classes that are hardly told apart, and may be one: crow and raven (55 %), "
        '"3" and "8" (60 %)',
        "Unlike all others: 0\\n.png, 1\\n.png, 2\\n.png, 3\\n.png, 4\\n.png and 2 more",
        "What divides people most: a.png, b.png",
    ]
    assert printed(200, printing.print_labels, nothing()).strip() == ""


def test_of_one_annotation_it_is_said_that_it_is_one() -> None:
    lost = {"count": 1, "examples": ["a.png"]}
    taken = {"written": 1, "known": 0, "unmatched": lost, "unknown_classes": {"owl": 1, "emu": 2}}
    found = nothing() | {"from_label_studio": taken}
    assert printed(200, printing.print_labels, found).splitlines() == [
        "1 decision from Label Studio.",
        "1 annotation fits no sample here: a.png",
        "1 annotation says owl, which is no class here.",
        "2 annotations say emu, which is no class here.",
    ]
