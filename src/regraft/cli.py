"""The command line: parses, calls a verb, prints what it gave.

Nothing here imports torch, and no verb is imported before it is called, so that `--help` is quick.
Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 the data or the
environment is at fault, 2 wrong usage, 130 and 143 stopped by Ctrl-C or SIGTERM; repeating the
command then goes on.
"""

from __future__ import annotations

import errno
import faulthandler
import gc
import json
import os
import re
import sys
import traceback
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from regraft import printing, stopping, terminal
from regraft.defaults import LABELS, MAX_BAD, TRAIN
from regraft.errors import Interrupted, RegraftError, StoreError, UsageError
from regraft.events import Event, Tell
from regraft.wording import size

app = typer.Typer(
    name="regraft",
    help="Cut the head off a pre-trained network, graft on your own, train only what pays.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_backbones = typer.Typer(no_args_is_help=True, help="The pre-trained networks to start from.")
_cache = typer.Typer(no_args_is_help=True, help="What has been computed before and is kept.")
app.add_typer(_backbones, name="backbones")
app.add_typer(_cache, name="cache")


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version  # slow to import

        print(f"regraft {version('regraft')}")
        raise typer.Exit


def _share(given: float) -> float:
    if not 0 <= given < 1:
        raise typer.BadParameter(f"{given:g} is not a number from 0 to below 1")
    return given


@app.callback()
def _regraft(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
) -> None:
    """What may stand before a command."""


_Data = Annotated[
    str,
    typer.Argument(metavar="DATA", help="A folder of classes, a table, or files of boxes."),
]
_Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder that `fit` wrote.")]
_AnyRun = Annotated[
    Path, typer.Argument(metavar="RUN", help="The folder that `fit` or `pretrain` wrote.")
]
_Task = Annotated[str | None, typer.Option(metavar="T", help="The task; inferred if not given.")]
_Clip = Annotated[
    str | None, typer.Option(metavar="TIME", help="Cut longer videos into clips of this length.")
]
_Frames = Annotated[
    int | None, typer.Option(metavar="N", help="Frames of a clip that the network looks at; 8.")
]
_COLUMNS = "text=A,label=B"
_Columns = Annotated[
    str | None, typer.Option(metavar=_COLUMNS, help="Columns of a table; found if not given.")
]
_ColumnsOfFit = Annotated[
    str | None,
    typer.Option(metavar=_COLUMNS, help="Columns of a table; those of the fit if not given."),
]
_Budget = Annotated[
    str | None, typer.Option(metavar="TIME", help="How long to train: 90s, 10m, 1h.")
]
_Compare = Annotated[
    str | None,
    typer.Option(metavar="scratch", help="Train the same network from scratch beside it."),
]
_Seed = Annotated[int, typer.Option(metavar="N", help="The seed of every random choice.")]
_MaxBad = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        callback=_share,
        help="Share of files that may be bad, from 0 to below 1; one always may, unless it is 0.",
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


# Verbs --------------------------------------------------------------------------------------------


@app.command()
def fit(
    data: _Data,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="The folder to write; DATA-regraft in the working folder if not given.",
        ),
    ] = None,
    task: _Task = None,
    backbone: Annotated[
        str | None,
        typer.Option(metavar="B", help="The network to start from; see `backbones list`."),
    ] = None,
    train: Annotated[
        str,
        typer.Option(
            metavar="ladder|head|last:K|all",
            help="What to train: rung by rung, the head, the last K stages and the head, or all.",
        ),
    ] = TRAIN,
    valid: Annotated[
        str | None, typer.Option(metavar="DATA", help="Samples to measure the rungs on.")
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Samples to measure the chosen rung on, once."),
    ] = None,
    more: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Samples to train on besides, as labelled of a pool."),
    ] = None,
    budget: _Budget = None,
    views: Annotated[
        int,
        typer.Option(metavar="K", help="Views of each picture that the head learns from, 1 to 16."),
    ] = 1,
    compare: _Compare = None,
    labels: Annotated[
        str,
        typer.Option(
            metavar="given|soft|clean",
            help="What is learnt from: labels as given, votes as they divide, no likely errors.",
        ),
    ] = LABELS,
    seed: _Seed = 0,
    max_bad: _MaxBad = MAX_BAD,
    clip: _Clip = None,
    frames: _Frames = None,
    columns: _Columns = None,
) -> None:
    """Find the best model that DATA supports, measuring every step."""
    budget_s = None if budget is None else seconds_of(budget)
    clip_s = None if clip is None else seconds_of(clip, "--clip")
    with telling() as tell:
        from regraft import verbs

        fitted = verbs.fit(
            data,
            out,
            task=task,
            backbone=backbone,
            train=train,
            valid=valid,
            test=test,
            more=more,
            budget=budget_s,
            views=views,
            compare=compare,
            labels=labels,
            seed=seed,
            max_bad=max_bad,
            clip=clip_s,
            frames=frames,
            columns=columns,
            tell=tell,
        )
    printing.print_fit(printing.output(), fitted.report, fitted.folder)


@app.command()
def pretrain(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="Pictures, videos or texts; labels are not needed."),
    ],
    objective: Annotated[
        str,
        typer.Option(metavar="contrastive|masked-language", help="What is learnt without labels."),
    ] = "contrastive",
    out: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="The folder to write; DATA-pretrained if not given."),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="B", help="The network to start from; random:ARCH for random weights."
        ),
    ] = None,
    judge: Annotated[
        str | None, typer.Option(metavar="LABELLED", help="Labelled samples that judge it.")
    ] = None,
    train: Annotated[
        str, typer.Option(metavar="all|last:K", help="What to train; the rest stays frozen.")
    ] = "all",
    budget: _Budget = None,
    compare: _Compare = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Passes, without a budget.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(metavar="N", help="Pictures, or tokens, in a batch.")
    ] = None,
    piece: Annotated[
        int | None, typer.Option(metavar="N", help="Of these, at once in memory.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(metavar="PX", help="Side of a tile; the backbone's own if not given."),
    ] = None,
    negatives: Annotated[
        str | None,
        typer.Option(metavar="batch|queue", help="queue: past batches' keys too (MoCo)."),
    ] = None,
    queue: Annotated[
        int | None, typer.Option(metavar="N", help="Past keys that --negatives queue keeps.")
    ] = None,
    momentum: Annotated[
        float | None, typer.Option(metavar="X", help="What the keys' slow copy keeps each step.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(metavar="X", help="At its highest; it warms up and falls.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(metavar="X", help="Of the contrastive loss.")
    ] = None,
    tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Tokens of a text that are read together.")
    ] = None,
    whole_words: Annotated[
        bool, typer.Option("--whole-words", help="Hide words as a whole or not at all.")
    ] = False,
    general: Annotated[
        str | None, typer.Option(metavar="TEXTS", help="Texts by which forgetting is measured.")
    ] = None,
    bf16: Annotated[
        bool, typer.Option("--bf16", help="Compute in bfloat16 on any processor.")
    ] = False,
    keep_duplicates: Annotated[
        bool, typer.Option("--keep-duplicates", help="Leave the judge's copies in the pool.")
    ] = False,
    clip: _Clip = None,
    frames: Annotated[
        int | None, typer.Option(metavar="N", help="Frames of each half of a clip; 8.")
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option(metavar="halves|same-moment", help="What of a clip must be alike."),
    ] = None,
    control: Annotated[
        bool,
        typer.Option("--control", help="Train on same moments too, and say what halves add."),
    ] = False,
    seed: _Seed = 0,
    max_bad: _MaxBad = MAX_BAD,
    columns: _Columns = None,
) -> None:
    """Train a backbone on samples without labels; `fit --backbone RUN` climbs it."""
    budget_s = None if budget is None else seconds_of(budget)
    given: dict[str, Any] = {
        "epochs": epochs, "batch": batch, "piece": piece, "size_px": size,
        "learning_rate": learning_rate, "temperature": temperature, "queue": queue,
        "momentum": momentum, "negatives": negatives, "tokens": tokens,
        "whole_words": whole_words, "general": general, "bf16": bf16,
        "keep_duplicates": keep_duplicates,
        "clip_s": None if clip is None else seconds_of(clip, "--clip"),
        "frames": frames, "pairs": pairs,
    }  # fmt: skip
    with telling() as tell:
        from regraft import pretraining
        from regraft.pretraining.objectives import settings_of

        done = pretraining.pretrain(
            data,
            out,
            objective=objective,
            backbone=backbone,
            judge=judge,
            train=train,
            budget=budget_s,
            compare=compare,
            settings=settings_of(objective, given),
            control=control,
            seed=seed,
            max_bad=max_bad,
            columns=columns,
            tell=tell,
        )
    printing.print_pretrained(printing.output(), done.report, done.folder)


@app.command()
def predict(
    run: _Run,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Pictures, texts, videos, folders, patterns; texts in tables, or - for stdin.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Boxes: a folder to write them to.")
    ] = None,
    to: Annotated[
        str,
        typer.Option(metavar="json|csv|coco|yolo|label-studio", help="Boxes: the format written."),
    ] = "json",
    draw: Annotated[
        bool, typer.Option("--draw", help="Boxes: write pictures with them, too.")
    ] = False,
    every: Annotated[
        str, typer.Option(metavar="TIME", help="Boxes: look at a video once in this time.")
    ] = "1s",
    precision: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="Boxes: the share that should be right, as 0.9; 0: all."
        ),
    ] = None,
    columns: _ColumnsOfFit = None,
    as_json: _Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a table for spreadsheets.")] = False,
) -> None:
    """Label pictures, videos or texts, saying what is unlike the training data; or find objects."""
    every_s = seconds_of(every, "--every")
    if as_json and as_csv:
        _refuse_given({"--csv": True}, "has no part in --json")
    with telling() as tell:
        from regraft import verbs

        predictions = verbs.predict(
            run, inputs, out=out, to=to, draw=draw, every=every_s, precision=precision,
            columns=columns, tell=tell,
        )  # fmt: skip
    if as_json:
        _print_json(predictions)
    elif as_csv:
        from regraft.predicting import as_csv as table_of

        typer.echo(table_of(predictions), nl=False)  # bytes: a table's encoding is its own
    else:
        printing.print_predictions(printing.output(), predictions, out)
    unread = [row for row in predictions if "problem" in row]
    failed = any("ignored" not in row for row in unread)
    if failed or (unread and len(unread) == len(predictions)):
        if as_json or as_csv:
            terminal.say(f"regraft: {printing.outcome(predictions, out)}")
        raise typer.Exit(1)


@app.command()
def evaluate(
    run: _Run,
    data: _Data,
    max_bad: _MaxBad = MAX_BAD,
    columns: _ColumnsOfFit = None,
    as_json: _Json = False,
) -> None:
    """Measure a model on labelled DATA that it has not seen."""
    with telling() as tell:
        from regraft import verbs

        evaluation = verbs.evaluate(run, data, max_bad=max_bad, columns=columns, tell=tell)
    if as_json:
        _print_json(evaluation)
    else:
        printing.print_evaluation(printing.output(), evaluation)


@app.command()
def inspect(
    data: _Data,
    task: _Task = None,
    columns: _Columns = None,
    clip: _Clip = None,
    as_json: _Json = False,
) -> None:
    """Show what is in DATA and what is wrong with it."""
    with telling() as tell:
        from regraft import verbs

        clip_s = None if clip is None else seconds_of(clip, "--clip")
        description = verbs.inspect(data, task=task, columns=columns, clip=clip_s, tell=tell)
    if as_json:
        _print_json(description)
    else:
        printing.print_description(printing.output(), description)


@app.command()
def convert(
    data: Annotated[
        str,
        typer.Argument(
            metavar="BOXES", help="COCO JSON, YOLO, Pascal VOC, a table or a Label Studio export."
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
    to: Annotated[
        str, typer.Option(metavar="coco|yolo|voc|csv|label-studio", help="The format to write.")
    ] = "coco",
) -> None:
    """Write pictures with boxes in another format; print what was found and mended, as JSON."""
    from regraft import verbs

    _print_json(verbs.convert(data, out, to))


@app.command()
def labels(
    data: _Data,
    run: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="A run of `fit`, whose network compares samples."),
    ] = None,
    pool: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="Samples without labels; says which to label next."),
    ] = None,
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="How many to label next.")] = 100,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where report.html, labels.json and tables go."),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(metavar="B", help="The network whose vectors samples are compared by."),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(metavar="nominal|ordinal|multilabel", help="How votes differ."),
    ] = None,
    seed: _Seed = 0,
    max_bad: _MaxBad = MAX_BAD,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar=_COLUMNS,
            help="Columns of a table; those of --run, or found, if not given.",
        ),
    ] = None,
    clip: _Clip = None,
    review: Annotated[
        bool, typer.Option("--review", help="Go through what was found on a local page.")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=65535, help="The page's port; 0 takes any."),
    ] = None,
    reviewer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who decides; your user name if not given.")
    ] = None,
    to_label_studio: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write what to look at as tasks for Label Studio."),
    ] = None,
    from_label_studio: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take the annotations of an export as decisions first."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Say how good the labels of DATA are, and which to ask for next."""
    asked: dict[str, Any] = {
        "run": run,
        "pool": pool,
        "batch": batch,
        "backbone": backbone,
        "scale": scale,
        "seed": seed,
        "max_bad": max_bad,
        "columns": columns,
        "clip": None if clip is None else seconds_of(clip, "--clip"),
    }
    if review:
        in_files = {
            "--out": out,
            "--to-label-studio": to_label_studio,
            "--from-label-studio": from_label_studio,
            "--json": as_json or None,
        }
        _refuse_given(in_files, "has no part in --review")
        _serve_review(data, asked, port, reviewer)
        return
    _refuse_given({"--port": port, "--reviewer": reviewer}, "is for --review alone")
    with telling() as tell:
        from regraft import verbs

        found = verbs.labels(
            data,
            out=out,
            **asked,
            to_label_studio=to_label_studio,
            from_label_studio=from_label_studio,
            tell=tell,
        )
    if as_json:
        _print_json(found)
    else:
        printing.print_labels(printing.output(), found, out)


def _refuse_given(options: Mapping[str, object], why: str) -> None:
    for option, value in options.items():
        if value is not None:
            raise UsageError(f"{option} {why}", where=option, mend="leave one of them out")


def _serve_review(data: str, asked: dict[str, Any], port: int | None, reviewer: str | None) -> None:
    """Serve the review page until Ctrl-C."""
    with telling() as tell:
        from regraft import verbs

        review = verbs.review(data, **asked, port=port, reviewer=reviewer, tell=tell)
    print(f"Open {review.address}", flush=True)
    terminal.say("Only browsers on this machine can open it. Press Ctrl-C to end the review.")
    review.serve_until_stopped()
    print(f"\n{review.summary()}")
    if review.journal.path.exists():
        print(f"decisions  {terminal.shown(review.journal.path)}")
    table = review.write_labelled()
    if table is not None:
        print(f"labelled   {terminal.shown(table)}")


@app.command()
def report(run: _AnyRun) -> None:
    """Write RUN/report.html again from what the run holds, and say where it is."""
    from regraft import verbs

    print(terminal.shown(verbs.report(run)))


@app.command()
def demo(
    out: Annotated[Path | None, typer.Option(metavar="RUN", help="The folder to write.")] = None,
) -> None:
    """Climb the ladder on handwritten digits: no data, no network."""
    with telling() as tell:
        from regraft import verbs

        fitted = verbs.demo(out, tell=tell)
    printing.print_fit(printing.output(), fitted.report, fitted.folder)


# Backbones, cache ---------------------------------------------------------------------------------


_Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A name from `backbones list`, timm:ARCH, text:FOLDER, …"),
]


@_backbones.command("list")
def list_backbones(as_json: _Json = False) -> None:
    """List the known networks, with licence and size."""
    from regraft import backbones

    rows = backbones.listing()
    if as_json:
        _print_json(rows)
    else:
        printing.print_backbones(printing.output(), rows)


@_backbones.command("show")
def show_backbone(name: _Name, as_json: _Json = False) -> None:
    """Show one network: stages, preparation, source, checksum, licence."""
    with telling() as tell:
        from regraft import backbones

        facts = backbones.show(name, tell=tell)
    _print_backbone(facts, as_json)


@_backbones.command("pull")
def pull_backbone(name: _Name, as_json: _Json = False) -> None:
    """Fetch the weights of a network; the only verb that asks the network."""
    with telling() as tell:
        from regraft import backbones

        facts = backbones.pull(name, tell=tell)
    _print_backbone(facts, as_json)


@_backbones.command("check")
def check_backbone(name: _Name, as_json: _Json = False) -> None:
    """Hold a network to the contract of a backbone, and say what was found true."""
    with telling() as tell:
        from regraft import backbones

        found = backbones.check_backbone(backbones.open_backbone(name, tell=tell))
    if as_json:
        _print_json({"name": name, "kept": list(found)})
    else:
        print(*(terminal.shown(promise) for promise in found), sep="\n")


@_cache.command("show")
def show_cache() -> None:
    """Show what is kept, where, and how much of the disk it takes."""
    from regraft.store import cache_folder
    from regraft.transfer import cache

    entries = [
        {"kind": e.kind, "about": e.about, "bytes": e.bytes, "used_s": e.used} for e in cache.show()
    ]
    printing.print_cache(printing.output(), cache_folder(), entries, cache.limit_bytes())


@_cache.command("clear")
def clear_cache() -> None:
    """Remove what can be computed again and is not in use."""
    from regraft.transfer import cache

    removed, left = cache.clear()
    print(f"{size(removed)} removed, {size(left)} in use and left")


def _print_backbone(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json(facts)
    else:
        printing.print_backbone(printing.output(), facts)


# Helpers ------------------------------------------------------------------------------------------


def seconds_of(budget: str, option: str = "--budget") -> float:
    """The seconds in a length of time such as "90s", "10m" or "1h30m".

    Args:
        budget: what was typed.
        option: where.

    Raises:
        UsageError: when it is none.
    """
    number = r"(\d+(?:\.\d+)?)"
    parts = re.fullmatch(f"(?:{number}h)?(?:{number}m)?(?:{number}s)?", budget.strip())
    amounts = [float(part or 0) for part in parts.groups()] if parts else []
    seconds = sum(amount * unit for amount, unit in zip(amounts, (3600, 60, 1), strict=False))
    if seconds <= 0:
        raise UsageError(
            f"{terminal.shown(budget)} is not a length of time",
            where=option,
            mend="give a number and a unit, for example 90s, 10m or 1h30m",
        )
    return seconds


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2))


@contextmanager
def telling() -> Generator[Tell]:
    """Progress on stderr, and a stop at the next good moment after a signal."""
    with stopping.stoppable() as check, terminal.telling() as draw:

        def tell(event: Event) -> None:
            draw(event)
            check()

        yield tell


_REFUSALS = frozenset(
    getattr(errno, name)
    for name in "ENAMETOOLONG ELOOP EACCES EPERM EROFS ENOSPC EDQUOT EIO ESTALE ENXIO".split()
)
"""What a name, permissions or a disk are to blame for. Nothing about what is missing or is there
already: to expect that is ours."""


def _told(fault: RegraftError) -> int:
    """The exit code of a fault, after it was said."""
    if os.environ.get("REGRAFT_DEBUG"):
        traceback.print_exc()
    terminal.say_fault(fault)
    return fault.exit_code


def _told_unforeseen(fault: Exception) -> int:
    """The same for what no verb foresaw: a refusal of the system, or a fault of ours."""
    if isinstance(fault, OSError) and fault.errno in _REFUSALS:
        return _told(
            StoreError(
                f"the operating system refuses: {fault.strerror}",
                where=str(fault.filename or ""),
                mend="check the name, its permissions and the disk, then repeat the command",
            )
        )
    traceback.print_exc()
    terminal.say("This is a fault in regraft. Please report it: the command and the lines above.")
    return 1


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with its exit code.

    Args:
        arguments: what was typed after `regraft`; the process's own arguments if None.
    """
    stopping.at_once()
    with suppress(OSError, AttributeError):  # where stderr is no file
        faulthandler.enable()  # what crashes in a library's own code says where
    # Threads of torch that wait for each other are to sleep, not to spin: on a machine where
    # somebody else works too, training steps took up to 20 times longer. It is read when torch
    # is loaded, which is later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app(args=arguments, prog_name="regraft")
        code = 0
    except Interrupted as stop:
        terminal.say("stopped; repeat the command to go on")
        stopping.leave(stop.exit_code)
    except RegraftError as fault:
        code = _told(fault)
    except Exception as fault:
        code = _told_unforeseen(fault)
    gc.freeze()  # the interpreter's last collection need not look at all that was ever loaded
    sys.exit(code)
