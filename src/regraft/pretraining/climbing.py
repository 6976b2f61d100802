"""The other half of the verdict: start and result, each climbed on the judge's labels.

A frozen comparison says which features are better as they are; what people use is fine-tuned. Both
climb the same ladder on the judge's train split, and their chosen rungs answer the held split.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.backbones import Backbone, open_backbone
from regraft.pretraining import judge as judging
from regraft.pretraining.judge import Eye
from regraft.store import Outcome, digest
from regraft.transfer import ladder
from regraft.transfer.engine import TRIAL_SAMPLES, Engine, prepare

if TYPE_CHECKING:
    from regraft.pretraining.verb import Ground


def climbed(ground: Ground, eye: Eye) -> dict[str, Any]:
    """Both climbed, compared on the held samples by the paired test.

    Returns:
        what `judge.compared` gives, "rungs" of both, and "text".
    """
    result = open_backbone(str(ground.run.folder), tell=ground.tell)
    rungs: dict[str, str] = {}
    answers: list[np.ndarray] = []
    for name, backbone in (("before", ground.start), ("after", result)):
        outcome = _answers(ground, eye, backbone)
        rungs[name] = str(outcome.facts["rung"])
        answers.append(outcome.tensors["logits"])
    found = judging.compared(eye, answers[0], answers[1])
    gap = found["difference"]
    text = (
        f"Climbed on the judge's labels, the result reaches {100 * found['after']['value']:.1f} % "
        f"(rung {rungs['after']}), the start {100 * found['before']['value']:.1f} % (rung "
        f"{rungs['before']}): {found['answer']} ({100 * gap['value']:+.1f} points, "
        f"{100 * gap['low']:+.1f} to {100 * gap['high']:+.1f}, p = {found['p']:.3f})."
    )
    return {**found, "rungs": rungs, "text": text}


def _answers(ground: Ground, eye: Eye, backbone: Backbone) -> Outcome:
    # Start and result may be one set of weights prepared in two ways.
    identity = digest(backbone.sha256, repr(backbone.preprocessing))
    inputs: dict[str, Any] = {
        "judge": eye.dataset.fingerprint(),
        "backbone": identity,
        "seed": eye.seed,
    }

    def compute() -> Outcome:
        with prepare(backbone, tell=ground.tell) as preparation:
            engines: dict[int, Engine] = {}

            def engine(frozen: int) -> Engine:
                if frozen not in engines:
                    engines[frozen] = preparation.engine(frozen, eye.train[:TRIAL_SAMPLES])
                return engines[frozen]

            named = preparation.backbone()
            stands = ladder.Ground(
                ground.run, eye.dataset, named, eye.task, engine, eye.seed, None, ground.tell
            )
            names = ladder.rung_names("ladder", len(named.stages))
            best = ladder.climb(stands, names).best
            _, logits_nc = ladder.final_answers(stands, best, eye.held)
        return Outcome({"rung": best.facts["name"]}, {"logits": logits_nc.astype(np.float32)})

    return ground.run.step("climbed", inputs, compute)
