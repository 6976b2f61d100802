"""What can be decided at the desk, and what cannot."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from desks import CLASSES, EVIL, desk_of, picture_queue, text_queue
from PIL import Image

from regraft.dataset import Sample
from regraft.errors import UnreadableSample
from regraft.labelling.journal import Decision
from regraft.labelling.review.desk import NotThere, Unfit, reviewer_name
from regraft.labelling.review.pictures import LARGE_PX, picture_of
from regraft.labelling.verdicts import verdicts


def _asked(**changed):
    usual = {"key": "k" * 8, "sample": "001.png", "reviewer": "ann", "action": "keep"}
    return {**usual, "labels": [], **changed}


def test_a_decision_goes_to_the_journal_with_a_time(tmp_path):
    desk = desk_of(picture_queue(tmp_path))
    assert desk.decide(_asked(action="change", labels=[EVIL])) == {"written": True}
    (decision,) = desk.journal.standing()
    assert (decision.sample, decision.labels) == ("001.png", (EVIL,))
    assert decision.at.startswith("20") and decision.at.endswith("+00:00")


def test_the_same_key_again_is_the_same_decision_whatever_else_it_says(tmp_path):
    desk = desk_of(picture_queue(tmp_path))
    desk.decide(_asked())
    assert desk.decide(_asked(sample="002.png", action="skip")) == {"written": False}
    assert [decision.sample for decision in desk.journal.standing()] == ["001.png"]


def test_a_decision_that_is_there_is_known_where_its_sample_is_gone(tmp_path):
    desk_of(picture_queue(tmp_path)).decide(_asked(sample="005.png"))
    fewer = desk_of(picture_queue(tmp_path, count=3))
    assert fewer.decide(_asked(sample="005.png")) == {"written": False}
    with pytest.raises(NotThere):
        fewer.decide(_asked(sample="005.png", key="l" * 8))
    assert [decision.sample for decision in fewer.journal.standing()] == ["005.png"]


def test_a_change_to_the_given_label_keeps_it(tmp_path):
    desk = desk_of(picture_queue(tmp_path))
    desk.decide(_asked(action="change", labels=["cat"]))
    assert verdicts(desk.journal.standing())["001.png"].action == "keep"


def test_a_decision_notes_the_content_and_the_label_that_was_kept(tmp_path):
    queue = picture_queue(tmp_path)
    desk = desk_of(queue)
    desk.decide(_asked())
    desk.decide(_asked(key="l" * 8, sample="002.png", action="change", labels=["dog"]))
    desk.decide(_asked(key="m" * 8, sample="003.png", action="change", labels=["cat"]))
    noted = [(one.content, one.kept) for one in desk.journal.standing()]
    contents = [sample.sha256[:16] for sample in queue.samples[1:4]]
    assert noted == [(contents[0], ("cat",)), (contents[1], ("dog",)), (contents[2], None)]


@pytest.mark.parametrize(
    "changed",
    [
        {"key": "short"},
        {"key": "k" * 65},
        {"key": "../../../etc"},
        {"key": 7},
        {"sample": 1},
        {"sample": None},
        {"reviewer": ""},
        {"reviewer": "a\nb"},
        {"reviewer": "\ud800"},
        {"reviewer": "x" * 61},
        {"reviewer": ["ann"]},
        {"action": "delete"},
        {"action": None},
        {"action": "keep", "labels": ["dog"]},
        {"action": "skip", "labels": ["dog"]},
        {"action": "change"},
        {"action": "change", "labels": ["dog", "cat"]},
        {"action": "change", "labels": ["wolf"]},
        {"action": "change", "labels": [1]},
        {"action": "change", "labels": [["dog"]]},
        {"action": "change", "labels": "dog"},
        {"action": "change", "labels": {"dog": 1}},
        {"more": 1},
    ],
)
def test_what_makes_no_sense_is_not_written(tmp_path, changed):
    desk = desk_of(picture_queue(tmp_path))
    with pytest.raises(Unfit):
        desk.decide(_asked(**changed))
    assert not desk.journal.path.exists()


def test_an_unknown_sample_is_not_there(tmp_path):
    desk = desk_of(picture_queue(tmp_path))
    for sample in ("", "../001.png", "999.png", str(tmp_path / "photos" / "001.png")):
        with pytest.raises(NotThere):
            desk.decide(_asked(sample=sample))
    for row in (6, 10**9):
        with pytest.raises(NotThere):
            desk.picture(row)
    with pytest.raises(NotThere):
        desk.text(0)


def test_a_decision_that_was_made_on_another_content_is_not_taken(tmp_path):
    queue = picture_queue(tmp_path)
    desk = desk_of(queue)
    items = desk.opening()["items"]
    own, other = items[1]["content"], items[2]["content"]
    with pytest.raises(NotThere, match="another content"):
        desk.decide(_asked(content=other))
    with pytest.raises(Unfit):
        desk.decide(_asked(content=None))
    assert not desk.journal.path.exists()
    for key, content in (("k" * 8, own), ("l" * 8, "")):
        assert desk.decide(_asked(key=key, content=content)) == {"written": True}
    assert [decision.content for decision in desk.journal.standing()] == [own, own]


def test_only_ones_own_decision_is_taken_back_and_only_once(tmp_path):
    desk = desk_of(picture_queue(tmp_path))
    desk.decide(_asked(key="a" * 8))
    desk.decide(_asked(key="b" * 8, sample="002.png"))
    undo = {"key": "u" * 8, "of": "a" * 8, "reviewer": "ben"}
    assert desk.undo(undo) == {"undone": None}
    for _ in range(2):
        assert desk.undo({**undo, "reviewer": "ann"}) == {"undone": "001.png"}
    assert desk.undo({**undo, "key": "v" * 8, "reviewer": "ann"}) == {"undone": None}
    assert [decision.key for decision in desk.journal.standing()] == ["b" * 8]


def test_several_classes_may_apply_or_none_and_nothing_unlabelled_is_kept(tmp_path):
    desk = desk_of(text_queue(tmp_path, ["a", "b"], multilabel=True))
    desk.decide(_asked(sample="line 2", action="change", labels=["dog", EVIL]))
    desk.decide(_asked(key="l" * 8, sample="line 3", action="change", labels=[]))
    assert [decision.labels for decision in desk.journal.standing()] == [(EVIL, "dog"), ()]
    with pytest.raises(Unfit, match="no label to keep"):
        desk.decide(_asked(key="m" * 8, sample="line 2"))


def test_events_go_on_from_where_a_page_is_and_begin_again_if_it_is_ahead(tmp_path):
    desk = desk_of(picture_queue(tmp_path))
    desk.decide(_asked())
    desk.journal.decide(Decision("other", "002.png", "ben", "skip"))
    assert [line["key"] for line in desk.events(1)["events"]] == ["other"]
    assert desk.events(2) == {"from": 2, "events": []}
    assert len(desk.events(9)["events"]) == 2


def test_pictures_are_bounded_and_come_from_their_folder_alone(tmp_path):
    queue = picture_queue(tmp_path)
    desk = desk_of(queue)
    assert desk.picture(0).kind == "image/png"
    sample = queue.samples[0]
    Image.new("RGB", (4000, 2000)).save(sample.source)
    with pytest.raises(UnreadableSample, match="changed after"):
        desk.picture(0)
    large = picture_of(type(sample)("x", sample.source, 0), queue.roots)
    assert large.kind == "image/jpeg" and len(large.data) < 200_000
    with Image.open(BytesIO(large.data)) as shown:
        assert shown.size == (LARGE_PX, LARGE_PX // 2)
    secret = tmp_path / "secret.png"
    sample.source.replace(secret)
    sample.source.symlink_to(secret)
    with pytest.raises(UnreadableSample, match="leads out"):
        desk.picture(0)


def test_long_texts_are_cut_and_say_so(tmp_path):
    desk = desk_of(text_queue(tmp_path, ["short", "long " * 20_000]))
    assert desk.text(0) == {"text": "short", "cut": False}
    assert desk.text(1)["cut"] and len(desk.text(1)["text"]) == 50_000


def test_names_are_composed_and_trimmed():
    assert reviewer_name("  Zoe\u0308 ") == "Zo\u00eb"


def test_the_opening_names_all_that_a_page_needs(tmp_path):
    opening = desk_of(picture_queue(tmp_path)).opening()
    assert opening["classes"] == list(CLASSES)
    assert opening["items"][0]["given"] == [EVIL]
    assert opening["examples"] == [[0, 3], [1, 4], [2, 5]]


def test_a_clip_is_shown_as_four_of_its_moments(tmp_path, monkeypatch):
    pytest.importorskip("av")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "dataset"))
    from made_videos import moving, write

    path = write(tmp_path / "clips" / "a.mp4", moving(48))
    for name in ("a.mp4", "a.mp4@1.00-3.00s"):
        sheet = picture_of(Sample(name, path, 0, "of its content"), (tmp_path,))
        with Image.open(BytesIO(sheet.data)) as shown:
            assert shown.size == (128, 96)
            quarter = np.asarray(shown.crop((0, 0, 64, 48)).convert("L"), dtype=float)
            last = np.asarray(shown.crop((64, 48, 128, 96)).convert("L"), dtype=float)
        assert np.abs(quarter - last).max() > 60, "the blot moves"
    with pytest.raises(UnreadableSample, match="leads out"):
        picture_of(Sample("a.mp4", path, 0), (tmp_path / "elsewhere",))
