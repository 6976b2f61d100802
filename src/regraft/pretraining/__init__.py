"""Pre-training without labels: objectives are modules, `pretrain` is the face.

`verb.py` is what objectives share: the run, the judge, the verdict, the report and the resulting
backbone. An objective (`contrastive.py`) makes views, trains in a memoised step, and gives weights
and curves. Nothing here imports torch until an objective runs.
"""

from regraft.pretraining.settings import Settings
from regraft.pretraining.verb import Pretrained, pretrain

__all__ = ["Pretrained", "Settings", "pretrain"]
