"""The objectives by name. Some share a name and differ in what they learn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from regraft.dataset import guard, refuse_run
from regraft.errors import UsageError
from regraft.pretraining.objective import Objective
from regraft.pretraining.settings import AnySettings, MaskedSettings

OBJECTIVES: Mapping[str, Sequence[str]] = {
    "contrastive": (
        "regraft.pretraining.clips:ContrastiveClips",
        "regraft.pretraining.pictures:ContrastivePictures",
    ),
    "masked-language": ("regraft.pretraining.masked_language:MaskedLanguage",),
}
"""Where the classes of a name stand: imported when one is chosen, because they need torch.

The first that recognises the data is taken. All of a name have the same settings.
"""

Kind = Callable[..., Objective]
"""The class of an objective: called with its settings, or with none for the usual ones."""


def settings_of(name: str, given: dict[str, Any]) -> AnySettings:
    """Settings of an objective, from what was chosen; None stands for what is usual.

    Raises:
        UsageError: there is no such objective, or it has no such setting.
    """
    usual = _kinds(name)[0]().settings
    # By identity: 0 equals False, and is to be refused, not passed over.
    chosen = {k: value for k, value in given.items() if value is not None and value is not False}
    foreign = sorted(chosen.keys() - {field.name for field in fields(usual)})
    if foreign:
        raise UsageError(
            f"the objective {name} has no {', '.join(foreign)}",
            where=", ".join(map(_option, foreign)),
            mend=f"it has {', '.join(_option(field.name) for field in fields(usual))}",
        )
    return replace(usual, **chosen)


def with_column(name: str, settings: AnySettings | None, column: str) -> AnySettings | None:
    """Settings of an objective that reads texts, from this column of a table; "" finds it.

    Raises:
        UsageError: there is no such objective, or it reads no texts.
    """
    usual = settings or _kinds(name)[0]().settings
    if not isinstance(usual, MaskedSettings):
        raise UsageError(
            f"the objective {name} reads no texts", where="--columns", mend="leave it out"
        )
    return replace(usual, column=column or None)


def _option(setting: str) -> str:
    """What a setting is called at the command line."""
    if setting == "column":
        return "--columns"
    return "--" + setting.removesuffix("_px").removesuffix("_s").replace("_", "-")


def choose(name: str, data: Path, settings: AnySettings | None = None) -> Objective:
    """The objective of this name for the data at a path.

    Raises:
        UsageError: there is none, the settings are another's, or the data are for another or a run.
        DataError: nothing lies there.
    """
    kinds = _kinds(name)
    usual = kinds[0]().settings
    if settings is not None and not isinstance(settings, type(usual)):
        raise UsageError(f"these are not settings of {name}", where="settings")
    if not data.exists():
        raise guard.nothing_at(data)
    refuse_run(data)
    kind = next((kind for kind in kinds if kind().recognises(data)), None)
    if kind is None:
        _refuse_others(name, data)
        kind = kinds[-1]  # reading says what is wrong with the data
    return kind(settings or usual)


def _refuse_others(name: str, data: Path) -> None:
    """Raise if the data are what an objective of another name learns from, and only that."""
    own = {kind().modality for kind in _kinds(name)}
    for other in OBJECTIVES:
        for found in (kind() for kind in _kinds(other)):
            if found.modality not in own and found.recognises(data):
                learnt = " and ".join(f"{modality}s" for modality in sorted(own))
                raise UsageError(
                    f"the objective {name} learns from {learnt}, these look like {found.modality}s",
                    where=data,
                    mend=f"use --objective {other}",
                )


def _kinds(name: str) -> list[Kind]:
    if name not in OBJECTIVES:
        raise UsageError(
            f"there is no objective {name!r}",
            where="--objective",
            mend=f"use {' or '.join(OBJECTIVES)}",
        )
    return [resolve_name(place) for place in OBJECTIVES[name]]
