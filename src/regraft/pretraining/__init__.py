"""Pre-training without labels: `pretrain` is the face, an objective is one file.

`objective.py` says what an objective is, `check.py` holds one to it and `objectives.py` has a line
for each; `verb.py`, `learning.py`, `judge.py`, `beside.py` and `facts.py` are what all share: the
run, the budget, checkpoints, the judge, what it is compared with, the verdict, the report and the
resulting backbone. Nothing here imports torch until an objective is chosen.
"""

from regraft.pretraining.check import check_objective
from regraft.pretraining.objective import Control, Job, Learner, Objective
from regraft.pretraining.settings import MaskedSettings, Settings
from regraft.pretraining.verb import Pretrained, pretrain

__all__ = [
    "Control",
    "Job",
    "Learner",
    "MaskedSettings",
    "Objective",
    "Pretrained",
    "Settings",
    "check_objective",
    "pretrain",
]
