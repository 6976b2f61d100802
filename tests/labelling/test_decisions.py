"""No decision is lost, none is doubled, and originals are never touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from regraft.dataset import Dataset, Problem, Sample
from regraft.labelling import decisions
from regraft.labelling.decisions import (
    Decision,
    Journal,
    Verdict,
    about,
    content_key,
    heard,
    journal_of,
    reviewed,
    verdicts,
)
from regraft.store import append_line, canonical, digest


def _journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "photos.decisions.jsonl")


def test_the_journal_lies_beside_the_data(tmp_path):
    (tmp_path / "photos").mkdir()
    assert journal_of(tmp_path / "photos").parent == tmp_path.resolve()


def test_the_same_key_twice_is_one_decision(tmp_path):
    journal = _journal(tmp_path)
    assert journal.decide(Decision("k1", "a.png", "ann", "change", ("dog",)))
    assert not journal.decide(Decision("k1", "a.png", "ann", "change", ("dog",)))
    assert len(journal.standing()) == 1


def test_undo_takes_back_the_reviewers_own_last_decision_once_a_key(tmp_path):
    journal = _journal(tmp_path)
    journal.decide(Decision("k1", "a.png", "ann", "keep"))
    journal.decide(Decision("k2", "b.png", "ann", "keep"))
    journal.decide(Decision("k3", "a.png", "ben", "skip"))
    assert journal.undo("ann", "u1").sample == "b.png"
    assert journal.undo("ann", "u1").sample == "b.png"
    assert [d.key for d in journal.standing()] == ["k1", "k3"]
    assert journal.undo("ann", "u2").sample == "a.png"
    assert journal.undo("ann", "u3") is None


def test_every_cut_of_the_file_loses_at_most_the_line_that_was_cut(tmp_path):
    journal = _journal(tmp_path)
    for k in range(3):
        journal.decide(Decision(f"k{k}", f"{k}.png", "ann", "keep"))
    whole = journal.path.read_bytes()
    for size in range(len(whole)):
        journal.path.write_bytes(whole[:size])
        assert len(journal.standing()) >= whole[:size].count(b"\n")
        if size % 37 == 0:
            journal.decide(Decision("new", "n.png", "ann", "keep"))
            assert journal.standing()[-1].key == "new"


def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from regraft.labelling.decisions import Decision, Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for k in range(10**6):\n"
        "    journal.decide(Decision(str(k), 'a.png', 'ann', 'keep'))\n"
        "    print(k, flush=True)\n"
    )
    path = _journal(tmp_path).path
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    acknowledged = [writer.stdout.readline() for _ in range(20)]
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged += writer.stdout.read().splitlines()
    writer.wait()
    writer.stdout.close()
    keys = [decision.key for decision in Journal(path).standing()]
    assert len(keys) == len(set(keys)) >= len([line for line in acknowledged if line.strip()]) >= 20


def test_writers_at_the_same_time_keep_every_decision(tmp_path):
    def write(k: int) -> None:
        _journal(tmp_path).decide(Decision(str(k), f"{k}.png", "ann", "keep"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(40)))
    assert len(_journal(tmp_path).standing()) == 40


def test_most_reviewers_decide_and_a_tie_decides_nothing(tmp_path):
    journal = _journal(tmp_path)
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


# Which samples decisions are about ----------------------------------------------------------------


def _mails(*texts: str, digits: int = 2) -> Dataset:
    """A table of mails, all of them ham."""
    samples = tuple(
        Sample(f"line {line:0{digits}d}", text, 0, digest(text))
        for line, text in enumerate(texts, 2)
    )
    return Dataset(Path("mails.csv"), "text-classification", ("ham", "spam"), samples)


def _is_spam(journal: Journal, sample: Sample) -> None:
    content = content_key(sample)
    journal.decide(Decision(sample.id, sample.id, "ann", "change", ("spam",), content=content))


def _spam(dataset: Dataset) -> list[str]:
    return [str(sample.source) for sample in dataset if sample.target == 1]


def test_a_decision_follows_its_text_through_an_edited_table(tmp_path):
    mails = _mails("a", "b", "c", "d")
    journal = _journal(tmp_path)
    _is_spam(journal, mails.samples[1])
    for texts, digits in (("abcd", 2), ("abcd", 3), ("acbd", 2), ("bcd", 2), ("xabcd", 2)):
        found, said = reviewed(_mails(*texts, digits=digits), journal)
        assert _spam(found) == ["b"] and len(said) == 1
        assert [p.kind for p in found.problems] == ["review"]


def test_a_decision_is_about_no_other_text_and_that_it_fits_none_is_said(tmp_path):
    mails = _mails("a", "b", "c")
    journal = _journal(tmp_path)
    for sample in mails:
        _is_spam(journal, sample)
    found, said = reviewed(_mails("a", "edited"), journal)
    assert _spam(found) == ["a"] and list(said) == ["line 02"]
    (lost,) = [p for p in found.problems if p.kind == "lost-review"]
    assert lost.where == "photos.decisions.jsonl"
    assert "line 03, line 04, and no sample fits" in lost.what


def test_what_was_left_out_for_a_reason_or_is_of_a_pool_is_not_missed(tmp_path):
    mails = _mails("a", "b")
    journal = _journal(tmp_path)
    _is_spam(journal, mails.samples[1])
    for name in ("./pool.csv: line 2", "../x/pool/1.png", "/old/pool/1.png"):
        journal.decide(Decision(name, name, "ann", "change", ("spam",), content="0" * 16))
    journal.decide(Decision("skipped", "line 99", "ann", "skip"))
    left = mails.with_samples(mails.samples[:1])
    left = left.with_problems([Problem("leak", "line 03", "A copy.", "left out")])
    found, said = reviewed(left, journal)
    assert not said and [p.kind for p in found.problems] == ["leak"]


def test_lines_without_a_content_are_about_the_sample_of_that_name(tmp_path):
    journal = _journal(tmp_path)
    old = {"key": "k", "sample": "line 03", "reviewer": "ann", "action": "keep", "labels": []}
    body = canonical(old)
    append_line(journal.path, digest(body)[:16].encode() + b" " + body)
    assert journal.standing() == [Decision("k", "line 03", "ann", "keep")]
    for texts in ("ab", "ax"):
        assert reviewed(_mails(*texts), journal)[1] == {"line 03": Verdict("keep", ())}
    found, said = reviewed(_mails("a", "b", digits=3), journal)
    assert not said and [p.kind for p in found.problems] == ["lost-review"]


def test_of_equal_texts_the_one_that_was_looked_at_counts_until_it_is_gone(tmp_path):
    journal = _journal(tmp_path)
    _is_spam(journal, _mails("a", "a").samples[0])
    assert list(reviewed(_mails("a", "a"), journal)[1]) == ["line 02"]
    assert list(reviewed(_mails("x", "a", "a"), journal)[1]) == ["line 03", "line 04"]


def test_what_was_said_of_a_copy_is_not_the_last_word_on_a_sample(tmp_path):
    journal = _journal(tmp_path)
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
    mails = _mails("a", "b")
    said = Decision("k", "line 02", "ann", "skip", content=content_key(mails.samples[0]))
    monkeypatch.setattr(decisions, "spoken_of", lambda names: "not to be asked")
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


def test_a_kept_label_is_what_was_kept_whatever_is_given_later(tmp_path):
    mails = _mails("a", "b", "c")
    journal = _journal(tmp_path)
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
