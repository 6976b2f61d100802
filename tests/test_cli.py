"""The command line: what it takes, prints and gives back, and how it stops."""

from __future__ import annotations

import importlib.metadata
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from regraft import cli

REGRAFT = str(Path(sys.executable).with_name("regraft"))

# The command line is a promise. Who changes it changes this table, the docs and the changelog.
OPTIONS = {
    "fit": "--out --task --backbone --train --valid --test --budget --compare --labels --seed "
    "--more --views --max-bad --clip --frames --columns",
    "pretrain": "--objective --out --backbone --judge --train --budget --compare --epochs --batch"
    " --piece --size --negatives --tokens --whole-words --general --bf16 --keep-duplicates --clip"
    " --learning-rate --temperature --queue --momentum --frames --pairs --control --seed --max-bad"
    " --columns",
    "predict": "--out --to --draw --every --precision --columns --json --csv",
    "evaluate": "--max-bad --columns --json",
    "inspect": "--task --columns --clip --json",
    "labels": "--run --pool --batch --out --backbone --scale --seed --max-bad --columns"
    " --clip --review --port --reviewer --to-label-studio --from-label-studio --json",
    "convert": "--to",
    "report": "",
    "demo": "--out",
    "backbones list": "--json",
    "backbones show": "--json",
    "backbones pull": "--json",
    "backbones check": "--json",
    "cache show": "",
    "cache clear": "",
}


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([REGRAFT, *arguments], capture_output=True, text=True, **options)


def test_help_names_every_verb_and_is_quick() -> None:
    """Beside what typer itself takes to be imported; bench/speed.py has the seconds."""
    bare = [sys.executable, "-c", "import typer, rich.console"]
    ours_s, bare_s = [], []
    for _ in range(3):
        began_s = time.perf_counter()
        subprocess.run(bare, check=True)
        between_s = time.perf_counter()
        helped = run("--help")
        bare_s.append(between_s - began_s)
        ours_s.append(time.perf_counter() - between_s)
    assert helped.returncode == 0
    assert {verb.split()[0] for verb in OPTIONS} <= set(helped.stdout.split())
    assert min(ours_s) < 2.5 * min(bare_s)


def test_nothing_expensive_is_imported_before_a_verb_needs_it() -> None:
    code = "import sys, regraft.cli; print(*sys.modules)"
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    modules = set(listed.stdout.split())
    assert "regraft.cli" in modules
    heavy = {"torch", "torchvision", "timm", "sklearn", "scipy", "matplotlib", "openvino", "numpy"}
    assert not heavy & modules


@pytest.mark.parametrize("verb", OPTIONS)
def test_options_stay_as_they_are(verb: str) -> None:
    helped = run(*verb.split(), "--help")
    assert helped.returncode == 0
    lines = helped.stdout.split("Options:")[1].splitlines()
    found = {word for line in lines for word in line.split()[:2] if word.startswith("--")}
    assert found - {"--help"} == set(OPTIONS[verb].split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit"],
        ["fit", "photos", "--no-such-option"],
        ["fit", "photos", "--seed", "many"],
        ["fit", "photos", "--max-bad", "2"],
        ["fit", "photos", "--max-bad", "1.0"],
        ["fit", "photos", "--max-bad", "nan"],
        ["predict", "run"],
        ["no-such-verb"],
    ],
)
def test_wrong_usage_is_exit_code_2_and_leaves_stdout_empty(arguments: list[str]) -> None:
    ended = run(*arguments)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "Error:" in ended.stderr


def test_the_share_that_is_helped_with_is_the_one_that_is_taken() -> None:
    helped = " ".join(run("fit", "--help").stdout.split())
    assert "from 0 to below 1" in helped
    assert "<=1" not in helped
    assert "is not a number from 0 to below 1" in run("fit", "photos", "--max-bad", "1").stderr


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("report", "The folder that `fit` or `pretrain` wrote."),
        ("fit", "DATA-regraft in the working folder if not given."),
        ("fit", "--valid DATA"),
        ("labels", "--pool DATA"),
        ("predict", "those of the fit if not given."),
        ("evaluate", "those of the fit if not given."),
        ("labels", "those of --run, or found, if not given."),
        ("inspect", "found if not given."),
        ("evaluate", "one always may, unless it is 0."),
    ],
)
def test_a_help_says_what_is_so(verb: str, said: str) -> None:
    helped = CliRunner().invoke(cli.app, [verb, "--help"])
    assert said in " ".join(helped.output.split())


@pytest.mark.parametrize("budget", ["", "10", "m", "10 minutes", "-5m", "0s", "1m1h"])
def test_a_budget_that_is_no_length_of_time_is_refused(budget: str) -> None:
    ended = run("fit", "photos", "--budget", budget)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "is not a length of time\n  where: --budget\n  mend:  " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_traceback_of_a_users_fault_is_there_for_those_who_ask() -> None:
    ended = run("fit", "photos", "--budget", "x", env={"REGRAFT_DEBUG": "1"})
    assert ended.returncode == 2
    assert "Traceback" in ended.stderr


@pytest.mark.parametrize(
    ("budget", "seconds"), [("90s", 90), ("10m", 600), ("1h", 3600), ("1h30m", 5400), ("0.5m", 30)]
)
def test_budgets_are_read_in_seconds(budget: str, seconds: float) -> None:
    from regraft.cli import seconds_of

    assert seconds_of(budget) == seconds


# Verbs that do nothing but wait, each in its way, run by the real command line.
WAITING = """
import hashlib, sys, time
from regraft import cli
from regraft.errors import DataError
from regraft.events import Advanced, Said

def wait(how):
    with cli.telling() as tell:
        tell(Said("begun"))
        if how == "between pieces of work":
            while True:
                tell(Advanced("features", 1, 2))
                time.sleep(0.02)
        if how == "in a long step":
            while True:
                time.sleep(0.02)
        if how == "deaf":
            hashlib.pbkdf2_hmac("sha256", b"", b"", 200_000_000)

def fail(how):
    raise DataError("no\\x1b[2J", where="a\\nb.jpg", mend="c") if how == "data" else KeyError("k")

cli.app.command()(wait)
cli.app.command()(fail)
cli.main()
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WAITING, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("how", "signals", "least_s", "most_s"),
    [
        ("between pieces of work", [signal.SIGINT], 0, 1.5),
        ("between pieces of work", [signal.SIGTERM], 0, 1.5),
        ("in a long step", [signal.SIGTERM], 2.5, 4.4),
        ("in a long step", [signal.SIGINT, signal.SIGINT], 0, 1.5),
        ("deaf", [signal.SIGINT], 4.0, 5.0),
    ],
)
def test_a_signal_ends_it_within_five_seconds(
    how: str, signals: list[signal.Signals], least_s: float, most_s: float
) -> None:
    process = start("wait", how)
    assert process.stderr is not None
    assert process.stderr.readline() == "begun\n"
    time.sleep(0.1)
    began_s = time.monotonic()
    for number in signals:
        process.send_signal(number)
        time.sleep(0.1)
    _, errors = process.communicate(timeout=20)
    took_s = time.monotonic() - began_s
    assert process.returncode == 128 + signals[-1]
    assert least_s <= took_s <= most_s
    assert errors.splitlines()[-1].endswith("repeat the command to go on")
    assert "Traceback" not in errors


def test_a_fault_says_what_where_and_how_to_mend_it_and_moves_no_cursor() -> None:
    ended = start("fail", "data")
    out, errors = ended.communicate()
    assert ended.returncode == 1
    assert out == ""
    assert errors == "regraft: no\\x1b[2J\n  where: a\\nb.jpg\n  mend:  c\n"


def test_a_fault_of_our_own_asks_for_a_report() -> None:
    ended = start("fail", "ours")
    _, errors = ended.communicate()
    assert ended.returncode == 1
    assert "KeyError: 'k'" in errors
    assert errors.splitlines()[-1].startswith("This is a fault in regraft.")


def test_a_data_set_that_is_not_there_is_the_datas_fault(tmp_path: Path) -> None:
    ended = run("inspect", str(tmp_path / "nowhere"))
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "nowhere" in ended.stderr
    assert "  mend:  " in ended.stderr


def test_a_single_class_is_inspected_all_the_same(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "mail").mkdir(exist_ok=True)
        (tmp_path / "mail" / f"{number}.txt").write_text(f"a text of its own, number {number}")
    ended = run("inspect", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert "3 samples of 1 class, text-classification" in ended.stdout
    assert "no-fit: 1 (fit stops)" in ended.stdout


def test_backbones_list_as_json() -> None:
    listed = run("backbones", "list", "--json")
    assert listed.returncode == 0
    assert "efficientnet-lite0" in {row["name"] for row in json.loads(listed.stdout)}


LEAVING = """
import atexit, sys
from regraft import stopping

class Held:
    def __del__(self):
        print("torn down", file=sys.stderr)

held = Held()
atexit.register(print, "tidied")
print("stopped", file=sys.stderr)
stopping.leave(130)
"""


def test_what_an_interruption_says_last_is_not_followed_by_what_is_torn_down() -> None:
    left = subprocess.run([sys.executable, "-c", LEAVING], capture_output=True, text=True)
    assert (left.returncode, left.stdout, left.stderr) == (130, "tidied\n", "stopped\n")


def test_the_version_is_that_of_the_package() -> None:
    told = run("--version")
    assert told.returncode == 0
    assert told.stdout == f"regraft {importlib.metadata.version('regraft')}\n"


@pytest.mark.parametrize(
    "words",
    ["fit {long}", "inspect {long}", "labels {long}", "backbones show {long}",
     "fit . --valid {long}", "fit . --backbone {long}", "convert {long} out --to coco"],
)  # fmt: skip
def test_a_name_that_is_too_long_is_no_fault_of_regraft(words: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").touch()
    told = run(*words.format(long="x" * 300).split(), cwd=tmp_path)
    what, where, mend = told.stderr.splitlines()[-3:]
    assert told.returncode == 1 and "Traceback" not in told.stderr
    assert "File name too long" in what and "x" * 50 in where and "check the name" in mend


def test_a_file_that_regraft_itself_misses_is_its_own_fault(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        Path("no such template").read_bytes()
    assert cli._told_unforeseen(missing.value) == 1
    assert "fault in regraft" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["--json", "--csv"])
def test_predict_says_at_the_end_what_is_not_done(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [
        {"sample": "a.jpg", "label": "Käfer", "probability": 0.9, "unlike_training": False},
        {"sample": "b.jpg", "problem": "There is no such file."},
    ]
    monkeypatch.setattr("regraft.verbs.predict", lambda *given, **options: answers)
    ended = CliRunner().invoke(cli.app, ["predict", "run", "a.jpg", "b.jpg", form])
    assert ended.exit_code == 1
    assert ended.stderr.splitlines() == ["regraft: 1 done, 1 not read"]
    assert "1 done" not in ended.stdout
