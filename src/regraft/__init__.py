"""regraft: graft a new head on a pre-trained network and train only what pays for itself.

Every verb of the command line but `backbones` and `cache` is a function here, with the same name
and arguments. The names are imported when they are first used, so `import regraft` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regraft.backbones import check_backbone as check_backbone
    from regraft.backbones import open_backbone as backbone
    from regraft.backbones.backbone import Backbone as Backbone
    from regraft.backbones.backbone import Preprocessing as Preprocessing
    from regraft.backbones.backbone import Recipe as Recipe
    from regraft.backbones.backbone import Stage as Stage
    from regraft.dataset import check_reader as check_reader
    from regraft.dataset import read as load
    from regraft.dataset.rows import Dataset as Dataset
    from regraft.dataset.rows import Problem as Problem
    from regraft.dataset.rows import Sample as Sample
    from regraft.errors import Interrupted as Interrupted
    from regraft.errors import RegraftError as RegraftError
    from regraft.pretraining import Pretrained as Pretrained
    from regraft.pretraining import check_objective as check_objective
    from regraft.pretraining import pretrain as pretrain
    from regraft.tasks import check_task as check_task
    from regraft.verbs import Fitted as Fitted
    from regraft.verbs import convert as convert
    from regraft.verbs import demo as demo
    from regraft.verbs import evaluate as evaluate
    from regraft.verbs import fit as fit
    from regraft.verbs import inspect as inspect
    from regraft.verbs import labels as labels
    from regraft.verbs import predict as predict
    from regraft.verbs import report as report
    from regraft.verbs import review as review

__all__ = [
    "Backbone",
    "Dataset",
    "Fitted",
    "Interrupted",
    "Preprocessing",
    "Pretrained",
    "Problem",
    "Recipe",
    "RegraftError",
    "Sample",
    "Stage",
    "backbone",
    "check_backbone",
    "check_objective",
    "check_reader",
    "check_task",
    "convert",
    "demo",
    "evaluate",
    "fit",
    "inspect",
    "labels",
    "load",
    "predict",
    "pretrain",
    "report",
    "review",
]

_HOMES = {
    "Backbone": "regraft.backbones.backbone",
    "Dataset": "regraft.dataset.rows",
    "Fitted": "regraft.verbs",
    "Interrupted": "regraft.errors",
    "Preprocessing": "regraft.backbones.backbone",
    "Pretrained": "regraft.pretraining",
    "Problem": "regraft.dataset.rows",
    "Recipe": "regraft.backbones.backbone",
    "RegraftError": "regraft.errors",
    "Sample": "regraft.dataset.rows",
    "Stage": "regraft.backbones.backbone",
    "backbone": "regraft.backbones:open_backbone",
    "check_backbone": "regraft.backbones",
    "check_objective": "regraft.pretraining",
    "check_reader": "regraft.dataset",
    "check_task": "regraft.tasks",
    "convert": "regraft.verbs",
    "demo": "regraft.verbs",
    "evaluate": "regraft.verbs",
    "fit": "regraft.verbs",
    "inspect": "regraft.verbs",
    "labels": "regraft.verbs",
    "load": "regraft.dataset:read",
    "predict": "regraft.verbs",
    "pretrain": "regraft.pretraining",
    "report": "regraft.verbs",
    "review": "regraft.verbs",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, own_name = _HOMES[name].partition(":")
    return getattr(import_module(module), own_name or name)


def __dir__() -> list[str]:
    return __all__
