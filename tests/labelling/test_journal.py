"""No decision is lost, and none is doubled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from decided import journal_in

from regraft.labelling.journal import Decision, Journal, journal_of


def test_the_journal_lies_beside_the_data(tmp_path):
    (tmp_path / "photos").mkdir()
    assert journal_of(tmp_path / "photos").parent == tmp_path.resolve()


def test_the_same_key_twice_is_one_decision(tmp_path):
    journal = journal_in(tmp_path)
    assert journal.decide(Decision("k1", "a.png", "ann", "change", ("dog",)))
    assert not journal.decide(Decision("k1", "a.png", "ann", "change", ("dog",)))
    assert len(journal.standing()) == 1


def test_undo_takes_back_the_reviewers_own_last_decision_once_a_key(tmp_path):
    journal = journal_in(tmp_path)
    journal.decide(Decision("k1", "a.png", "ann", "keep"))
    journal.decide(Decision("k2", "b.png", "ann", "keep"))
    journal.decide(Decision("k3", "a.png", "ben", "skip"))
    assert journal.undo("ann", "u1").sample == "b.png"
    assert journal.undo("ann", "u1").sample == "b.png"
    assert [d.key for d in journal.standing()] == ["k1", "k3"]
    assert journal.undo("ann", "u2").sample == "a.png"
    assert journal.undo("ann", "u3") is None


def test_every_cut_of_the_file_loses_at_most_the_line_that_was_cut(tmp_path):
    journal = journal_in(tmp_path)
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
        "from regraft.labelling.journal import Decision, Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for k in range(10**6):\n"
        "    journal.decide(Decision(str(k), 'a.png', 'ann', 'keep'))\n"
        "    print(k, flush=True)\n"
    )
    path = journal_in(tmp_path).path
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
        journal_in(tmp_path).decide(Decision(str(k), f"{k}.png", "ann", "keep"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(40)))
    assert len(journal_in(tmp_path).standing()) == 40
