"""Which texts of a pool hold a labelled one."""

from __future__ import annotations

from regraft.dataset import Sample
from regraft.dataset.holders import holders
from regraft.events import silent


def test_a_text_that_holds_a_labelled_one_is_a_leak_and_one_that_shares_a_phrase_is_not() -> None:
    labelled = "please send me the invoice for the last order of ten blue chairs before friday noon"
    held = f"From the archive. {labelled.upper()}! And more of other things, which go on and on."
    phrase = "the last order of ten blue chairs before friday was sent to somebody else entirely"
    pool = [Sample("held", held, None), Sample("phrase", phrase, None)]
    apart = [Sample("line 7", labelled, None)]
    assert holders(pool, apart, silent) == {"held": "line 7"}


FOOTER = (
    "sent by the mailing list of the users of the tool for the news of the world to leave it write "
    "to the address below or visit the page of the list where the archive of all mails is kept"
)


def test_a_footer_that_many_texts_share_makes_no_leak() -> None:
    order = "please send me the invoice for the last order of ten blue chairs before friday noon"
    long, short = f"{order}. {FOOTER}", f"thank you it works now. {FOOTER}"
    others = [f"{'abcdefghi'[i] * 3} writes about something else. {FOOTER}" for i in range(7)]
    pool = [Sample(str(i), text, None) for i, text in enumerate(others)]
    apart = [Sample("line 1", short, None), Sample("line 2", long, None)]
    assert holders(pool[:3], apart, silent) != {}
    assert holders(pool, apart, silent) == {}
    quoted = Sample("quoted", f"You wrote: {long} I will do so, but it takes some days.", None)
    assert holders([*pool, quoted], apart, silent) == {"quoted": "line 2"}


def test_copies_in_the_pool_do_not_make_a_text_common() -> None:
    order = "please send me the invoice for the last order of ten blue chairs before friday noon"
    text = f"You wrote: {order} I will do so, but it takes some days."
    pool = [Sample(str(i), text, None, sha256="one") for i in range(9)]
    assert set(holders(pool, [Sample("line 1", order, None)], silent)) == {s.id for s in pool}


def test_blocks_of_a_long_labelled_text_are_parts_of_it() -> None:
    words = [f"{'abcdefghij'[i % 10]}{'klmnopqrst'[i // 10 % 10]}{'uvwxyz'[i // 100]}"
             for i in range(480)]  # fmt: skip
    blocks = [" ".join(words[at : at + 80]) for at in range(0, 480, 80)]
    pool = [Sample(str(i), block, None) for i, block in enumerate(blocks)]
    apart = [Sample("line 1", " ".join(words), None)]
    assert set(holders(pool, apart, silent)) == {sample.id for sample in pool}
    mixed = " ".join(words[:30]) + " and more" + "".join(f" of the {w}s" for w in words[100:130])
    assert holders([Sample("mixed", mixed, None)], apart, silent) == {}


def test_short_labelled_texts_are_looked_for_as_a_whole() -> None:
    pool = [
        Sample("whole", "He wrote: the food was cold again! We shall not return to it.", None),
        Sample("part", "He wrote that the food was cold and that it rained all day.", None),
    ]
    apart = [Sample("line 1", "The food was cold again.", None), Sample("line 2", "He wrote", None)]
    assert holders(pool, apart, silent) == {"whole": "line 1"}


def test_a_text_without_spaces_is_found_in_another() -> None:
    labelled = "这家餐厅的服务员非常热情菜的味道也很好下次还会再来"
    pool = [
        Sample("held", f"昨天有人写道：{labelled}。我不同意他的看法。", None),
        Sample("other", "这家餐厅的位置很难找停车也不方便所以我们去了别的地方吃饭", None),
    ]
    assert holders(pool, [Sample("line 1", labelled, None)], silent) == {"held": "line 1"}
