"""Which samples decisions are about, whatever became of the data since."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from decided import call_spam, journal_in, mails_of, spam_in

from regraft.dataset import Dataset, Sample
from regraft.labelling import matching
from regraft.labelling.journal import Decision
from regraft.labelling.matching import about, content_key
from regraft.labelling.verdicts import Verdict, reviewed
from regraft.store import append_line, canonical, digest


def test_a_decision_follows_its_text_through_an_edited_table(tmp_path):
    mails = mails_of("a", "b", "c", "d")
    journal = journal_in(tmp_path)
    call_spam(journal, mails.samples[1])
    for texts, digits in (("abcd", 2), ("abcd", 3), ("acbd", 2), ("bcd", 2), ("xabcd", 2)):
        found, said = reviewed(mails_of(*texts, digits=digits), journal)
        assert spam_in(found) == ["b"] and len(said) == 1
        assert [p.kind for p in found.problems] == ["review"]


def test_lines_without_a_content_are_about_the_sample_of_that_name(tmp_path):
    journal = journal_in(tmp_path)
    old = {"key": "k", "sample": "line 03", "reviewer": "ann", "action": "keep", "labels": []}
    body = canonical(old)
    append_line(journal.path, digest(body)[:16].encode() + b" " + body)
    assert journal.standing() == [Decision("k", "line 03", "ann", "keep")]
    for texts in ("ab", "ax"):
        assert reviewed(mails_of(*texts), journal)[1] == {"line 03": Verdict("keep", ())}
    found, said = reviewed(mails_of("a", "b", digits=3), journal)
    assert not said and [p.kind for p in found.problems] == ["lost-review"]


def test_of_equal_texts_the_one_that_was_looked_at_counts_until_it_is_gone(tmp_path):
    journal = journal_in(tmp_path)
    call_spam(journal, mails_of("a", "a").samples[0])
    assert list(reviewed(mails_of("a", "a"), journal)[1]) == ["line 02"]
    assert list(reviewed(mails_of("x", "a", "a"), journal)[1]) == ["line 03", "line 04"]


def test_what_was_said_of_a_copy_is_not_the_last_word_on_a_sample(tmp_path):
    journal = journal_in(tmp_path)
    file = "a" * 64
    test = Sample("test/dog/9.jpg", Path("9.jpg"), 1, file)
    data = Dataset(Path("photos"), "image-classification", ("cat", "dog"), (test,))
    said = [("test/dog/9.jpg", "dog", "ann"), ("train/cat/1.jpg", "cat", "ann")]
    for n, (name, kept, who) in enumerate(said):
        key = f"k{n}"
        journal.decide(Decision(key, name, who, "keep", content=file[:16], kept=(kept,)))
    found, verdict = reviewed(data, journal)
    assert verdict == {test.id: Verdict("keep", ())} and found.samples == data.samples
    # A name alone says less than that: these are as they were made.
    unsure = [Decision("o", test.id, "ann", "change", ("cat",)), *journal.standing()[1:]]
    assert [one.key for one in about(unsure, [test])[0]] == ["o", "k1"]


def test_old_decisions_on_pools_of_one_folder_name_are_not_mixed():
    said = [
        Decision("1", "/disk1/unlabelled/0001.jpg", "ann", "change", ("cat",)),
        Decision("2", "/disk2/unlabelled/0001.jpg", "ann", "change", ("dog",)),
        Decision("3", "/disk2/unlabelled/0002.jpg", "ann", "change", ("cat",)),
        Decision("4", "/disk2/unlabelled/0002.jpg", "ann", "change", ("dog",)),
    ]
    here = [Sample(f"./unlabelled/000{n}.jpg", Path("x"), None, f"{n}" * 64) for n in (1, 2)]
    known, lost = about(said, here)
    assert [(one.key, one.sample) for one in known] == [("3", here[1].id), ("4", here[1].id)]
    assert lost == said[:2]
    there = [replace(one, id=f"../../disk2/{one.id[2:]}") for one in here]
    assert [one.key for one in about(said, there)[0]] == ["2", "3", "4"]


def test_samples_are_gone_through_only_for_decisions_that_fit_none_by_name(monkeypatch):
    mails = mails_of("a", "b")
    said = Decision("k", "line 02", "ann", "skip", content=content_key(mails.samples[0]))
    monkeypatch.setattr(matching, "spoken_of", lambda names: "not to be asked")
    assert [one.sample for one in about([said], mails)[0]] == ["line 02"]


def test_decisions_on_a_file_are_about_the_clips_that_it_is_cut_into():
    file, other = "a" * 64, "b" * 64
    whole = Sample("a.mp4", Path("a.mp4"), 0, digest("a"), span_s=(0, 12), file_sha256=file)
    clips = [
        replace(whole, id=f"{name}.mp4@{at}.00-{at + 6}.00s", sha256=f"{n}", file_sha256=sha)
        for n, (name, at, sha) in enumerate([("a", 0, file), ("renamed", 6, file), ("a", 6, other)])
    ]
    said = Decision("k", "a.mp4", "ann", "keep", content=content_key(whole))
    known, lost = about([said], clips)
    assert [one.sample for one in known] == [clips[0].id, clips[1].id] and not lost
    old, _ = about([replace(said, content="")], clips)
    assert [one.sample for one in old] == [clips[0].id, clips[2].id]
    part = replace(said, sample=clips[0].id, content=content_key(clips[0]))
    assert [one.sample for one in about([part], clips)[0]] == [clips[0].id]
