"""What reviewers together say, and that originals are never touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from decided import call_spam, journal_in, mails_of, spam_in

from regraft.dataset import Dataset, Problem, Sample
from regraft.labelling.journal import Decision
from regraft.labelling.matching import content_key
from regraft.labelling.verdicts import Verdict, heard, reviewed, verdicts


def test_most_reviewers_decide_and_a_tie_decides_nothing(tmp_path):
    journal = journal_in(tmp_path)
    journal.decide(Decision("1", "a", "ann", "change", ("dog",)))
    journal.decide(Decision("2", "a", "ben", "change", ("dog",)))
    journal.decide(Decision("3", "a", "cec", "keep"))
    journal.decide(Decision("4", "b", "ann", "change", ("dog",)))
    journal.decide(Decision("5", "b", "ben", "keep"))
    journal.decide(Decision("6", "c", "ann", "change", ("<script>",)))
    said = verdicts(journal.standing())
    assert (said["a"].action, said["b"].action) == ("change", "divided")
    rows = tuple(Sample(name, Path(name), 0) for name in "abc")
    dataset, _ = reviewed(Dataset(Path(), "image-classification", ("cat", "dog"), rows), journal)
    assert [sample.target for sample in dataset] == [1, 0, 0]
    assert any("<script>" in problem.what for problem in dataset.problems)


def test_a_decision_is_about_no_other_text_and_that_it_fits_none_is_said(tmp_path):
    mails = mails_of("a", "b", "c")
    journal = journal_in(tmp_path)
    for sample in mails:
        call_spam(journal, sample)
    found, said = reviewed(mails_of("a", "edited"), journal)
    assert spam_in(found) == ["a"] and list(said) == ["line 02"]
    (lost,) = [p for p in found.problems if p.kind == "lost-review"]
    assert lost.where == "photos.decisions.jsonl"
    assert "line 03, line 04, and no sample fits" in lost.what


def test_what_was_left_out_for_a_reason_or_is_of_a_pool_is_not_missed(tmp_path):
    mails = mails_of("a", "b")
    journal = journal_in(tmp_path)
    call_spam(journal, mails.samples[1])
    for name in ("./pool.csv: line 2", "../x/pool/1.png", "/old/pool/1.png"):
        journal.decide(Decision(name, name, "ann", "change", ("spam",), content="0" * 16))
    journal.decide(Decision("skipped", "line 99", "ann", "skip"))
    left = mails.with_samples(mails.samples[:1])
    left = left.with_problems([Problem("leak", "line 03", "A copy.", "left out")])
    found, said = reviewed(left, journal)
    assert not said and [p.kind for p in found.problems] == ["leak"]


def test_a_kept_label_is_what_was_kept_whatever_is_given_later(tmp_path):
    mails = mails_of("a", "b", "c")
    journal = journal_in(tmp_path)
    for n, sample in enumerate(mails):
        kept = Decision(f"k{n}", sample.id, "ann", "keep", content=content_key(sample))
        journal.decide(replace(kept, kept=(("ham",), ("gone",), None)[n]))
    assert {one.action for one in heard(journal.standing(), mails).values()} == {"keep", "change"}
    turned = mails.with_samples(replace(sample, target=1) for sample in mails)
    found, said = reviewed(turned, journal)
    assert [sample.target for sample in found] == [0, 1, 1]
    assert said == {"line 02": Verdict("change", ("ham",)), "line 04": Verdict("keep", ())}
    assert [p.what for p in found.problems] == [
        "A reviewer kept the label ham, which has become spam since.",
        "A reviewer chose gone, which is no class.",
    ]


def test_who_changed_a_label_to_what_is_given_now_says_what_those_say_who_keep_it():
    said = [
        Decision("1", "a", "ann", "change", ("spam",)),
        Decision("2", "a", "ben", "keep", kept=("spam",)),
        Decision("3", "a", "cec", "keep", kept=("ham",)),
    ]
    assert verdicts(said, {"a": ("spam",)}) == {"a": Verdict("keep", ())}
    assert verdicts(said, {"a": ("ham",)}) == {"a": Verdict("change", ("spam",))}
