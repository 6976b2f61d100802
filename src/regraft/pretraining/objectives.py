"""The objectives by name. Some share a name and differ in what they learn from."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from regraft.dataset.clips import holds_videos
from regraft.dataset.unlabelled_texts import recognises_texts
from regraft.errors import DataError, UsageError
from regraft.pretraining.objective import Objective
from regraft.pretraining.settings import AnySettings, MaskedSettings, Settings

NAMES = ("contrastive", "masked-language")
_SETTINGS: dict[str, type[AnySettings]] = {
    "contrastive": Settings,
    "masked-language": MaskedSettings,
}


def settings_of(name: str, given: dict[str, Any]) -> AnySettings:
    """Settings of an objective, from what was chosen; None stands for what is usual.

    Raises:
        UsageError: there is no such objective, or it has no such setting.
    """
    kind = _SETTINGS[_known(name)]
    # By identity: 0 equals False, and is to be refused, not passed over.
    chosen = {k: value for k, value in given.items() if value is not None and value is not False}
    foreign = sorted(chosen.keys() - {field.name for field in fields(kind)})
    if foreign:
        raise UsageError(
            f"the objective {name} has no {', '.join(foreign)}",
            where="pretrain",
            mend=f"it has {', '.join(field.name for field in fields(kind))}",
        )
    return kind(**chosen)


def choose(name: str, data: Path, settings: AnySettings | None = None) -> Objective:
    """The objective of this name for the data at a path.

    Raises:
        UsageError: there is none, or the settings are another's.
        DataError: nothing lies there.
    """
    settings = settings or settings_of(name, {})
    if not isinstance(settings, _SETTINGS[_known(name)]):
        raise UsageError(f"these are not settings of {name}", where="settings")
    if isinstance(settings, MaskedSettings):
        from regraft.pretraining.masked_language import MaskedLanguage

        return MaskedLanguage(settings)
    if not data.exists():
        raise DataError("there is no such folder", where=data, mend="check the path")
    if data.is_dir() and holds_videos(data):
        from regraft.pretraining.clips import ContrastiveClips

        return ContrastiveClips(settings)
    if settings.is_for_clips:
        raise UsageError(
            "there are no videos here to cut into clips, or fewer than pictures",
            where=data,
            mend="leave these options out, or give the folder of the videos",
        )
    if recognises_texts(data):
        raise UsageError(
            f"the objective {name} learns from pictures and videos, these look like texts",
            where=data,
            mend="use --objective masked-language",
        )
    from regraft.pretraining.pictures import ContrastivePictures

    return ContrastivePictures(settings)


def _known(name: str) -> str:
    if name not in NAMES:
        raise UsageError(
            f"there is no objective {name!r}", where="--objective", mend=f"use {' or '.join(NAMES)}"
        )
    return name
