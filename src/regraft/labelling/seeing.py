"""The frozen network that looks at samples, so that they can be compared by their vectors."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import numpy as np

from regraft.backbones import Backbone
from regraft.dataset import Dataset
from regraft.errors import UsageError
from regraft.events import Tell
from regraft.labelling.asking import Seen
from regraft.transfer.cut import Cut
from regraft.transfer.engine import prepare
from regraft.transfer.features import features

_TRIAL = 64


@contextmanager
def eyes(
    network: str | Backbone, dataset: Dataset, pool: Dataset | None, tell: Tell
) -> Generator[Callable[[Dataset], Seen]]:
    """A frozen network that looks at samples, once, and remembers (the cache)."""
    with prepare(network, tell=tell) as preparation:
        described = preparation.backbone()
        option = "--run" if isinstance(network, Backbone) else "--backbone"
        described.check_reads(dataset.modality, f"the data are {dataset.modality}s", option)
        if described.detector is not None:
            raise UsageError(
                f"{described.name} finds objects; samples are compared by one vector each",
                where=option,
                mend="take another from `regraft backbones list`",
            )
        cut = Cut(described, len(described.stages))
        some = (dataset.samples or (pool.samples if pool else ()))[:_TRIAL]
        engine = preparation.engine(cut.kept.frozen, some)

        def see(samples: Dataset) -> Seen:
            if not len(samples):
                return Seen(samples, lambda index: np.empty((len(index), 0), np.float32))
            table = features(samples.samples, cut, engine, tell=tell)
            return Seen(samples, lambda index: table.rows(index)[0])

        yield see
