"""Classification: one class a sample, or several. Pictures, texts and clips share it.

The numbers that decide (metric, probabilities, decoding, the probe) are NumPy, so that a frozen
network with a new head needs no training framework; the loss and the head as a module are torch.

Shapes: n samples, d width of the backbone's vector, c classes, r bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.backbones.backbone import Backbone
from regraft.dataset.rows import Dataset, Sample
from regraft.dataset.summary import is_imbalanced
from regraft.dataset.views import View
from regraft.seeds import seed_of
from regraft.tasks import measure
from regraft.tasks.probe import Probe, chances, fit_probe
from regraft.tasks.task import Answers, Criterion, Outputs, Pace

if TYPE_CHECKING:
    import torch

AUGMENTED = View(index=0, crop=0.35, mirror=True, colour=0.15)
"""Measured (docs/how-it-works.md): crops of photographs should go deeper than 60 % of the area;
thumbnails of one thing each do not mind."""
AUGMENTED_CLIPS = replace(AUGMENTED, crop=0.6)
"""What frames of clips were measured with."""


@dataclass(frozen=True)
class Classification:
    """What is learnt: head, loss, metric, and what the outputs mean.

    Attributes:
        name: "image-classification", "text-classification" or "video-classification".
        classes: in the order of the logits.
        multilabel: several classes may apply to a sample, or none.
        balanced: every class counts the same in the loss and the metric, however rare.
    """

    name: str
    classes: tuple[str, ...]
    multilabel: bool = False
    balanced: bool = False

    @staticmethod
    def of(rows: Dataset) -> Classification:
        """For a data set with splits; balanced where its training classes differ much in size."""
        task = Classification(rows.task, rows.classes, rows.multilabel)
        is_balanced = not rows.multilabel and is_imbalanced(rows)
        return replace(task, balanced=is_balanced)

    @property
    def metric_name(self) -> str:
        """The one number that rungs are compared by."""
        if self.multilabel:
            return "mean_average_precision"
        return "balanced_accuracy" if self.balanced else "accuracy"

    @property
    def convex(self) -> bool:
        """See `Task`."""
        return True

    @property
    def augmented(self) -> View:
        """See `Task`."""
        return AUGMENTED_CLIPS if self.name == "video-classification" else AUGMENTED

    @property
    def pace(self) -> Pace:
        """See `Task`."""
        return Pace()

    def facts(self) -> dict[str, Any]:
        """See `Task`."""
        return {
            "task": self.name,
            "classes": list(self.classes),
            "multilabel": self.multilabel,
            "balanced": self.balanced,
        }

    def learning_from(self, samples: Sequence[Sample]) -> Classification:
        """See `Task`; what it is does not depend on them."""
        return self

    def targets(self, samples: Sequence[Sample]) -> np.ndarray:
        """Target_nc: ones where a class applies, float32."""
        target_nc = np.zeros((len(samples), len(self.classes)), dtype=np.float32)
        for row, sample in enumerate(samples):
            assert sample.target is not None, f"{sample.id} has no label"
            target_nc[row, sample.target] = 1
        return target_nc

    def sample_weights(self, target_nc: np.ndarray) -> np.ndarray:
        """Weight_n with mean 1: inverse class frequency where balanced, else ones."""
        if not self.balanced:
            return np.ones(len(target_nc))
        count_c = target_nc.sum(axis=0)
        weight_n = 1.0 / np.maximum(count_c, 1)[target_nc.argmax(axis=1)]
        return weight_n / weight_n.mean()

    def fit_head(
        self,
        x_nd: np.ndarray,
        targets: np.ndarray,
        clusters: Sequence[str],
        seed: int,
        penalty: float | None = None,
    ) -> Probe:
        """A linear head on frozen features. See `regraft.tasks.probe.fit_probe`."""
        return fit_probe(
            x_nd,
            targets,
            exclusive=not self.multilabel,
            weight_n=self.sample_weights(targets),
            clusters=clusters,
            seed=seed,
            penalty=penalty,
        )

    def answers(self, outputs: Outputs, samples: Sequence[Sample]) -> Answers:
        """The logits: {"logits": logits_nc}, float32."""
        return {"logits": outputs.float().cpu().numpy()}

    def score(self, answers: Answers, targets: np.ndarray) -> measure.Score:
        """The metric of these answers, as a function of weights on the samples."""
        logits_nc, target_nc = answers["logits"], targets
        if self.multilabel:
            return measure.mean_average_precision(logits_nc, target_nc > 0)
        correct_n = self.correct(logits_nc, target_nc)
        if self.balanced:
            return measure.balanced_accuracy(correct_n, target_nc.argmax(axis=1))
        return measure.accuracy(correct_n)

    def correct(self, logits_nc: np.ndarray, target_nc: np.ndarray) -> np.ndarray:
        """Which samples are answered wholly right, bool_n."""
        if self.multilabel:
            return ((logits_nc > 0) == (target_nc > 0)).all(axis=1)
        return logits_nc.argmax(axis=1) == target_nc.argmax(axis=1)

    def probabilities(self, logits_nc: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        """Probability_nc; rows sum to 1 unless multi-label."""
        scaled_nc = logits_nc.astype(np.float64) / temperature
        return chances(scaled_nc, exclusive=not self.multilabel)

    def confidences(
        self, logits_nc: np.ndarray, target_nc: np.ndarray, temperature: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """How sure each answer is (0…1) and whether it is right: what calibration compares.

        Multi-label data give one answer for each sample and class.
        """
        chance_nc = self.probabilities(logits_nc, temperature)
        if self.multilabel:
            sure_n = np.maximum(chance_nc, 1 - chance_nc).ravel()
            return sure_n, ((chance_nc > 0.5) == (target_nc > 0)).ravel()
        return chance_nc.max(axis=1), self.correct(logits_nc, target_nc)

    def calibrate(self, answers: Answers, targets: np.ndarray) -> dict[str, float]:
        """The temperature."""
        return {"temperature": self.fit_temperature(answers["logits"], targets)}

    def fit_temperature(self, logits_nc: np.ndarray, target_nc: np.ndarray) -> float:
        """The divisor of the logits with the least log-loss (Guo et al. 2017), 0.05…20.

        It is fitted as if one answer more had been wrong and one more right (Platt 1999): ten right
        ones out of ten do not make a model that is never in doubt. Where several classes may apply,
        each is an answer of its own.
        """
        from scipy.optimize import minimize_scalar

        is_right_nc = target_nc > 0

        def loss(log_temperature: float) -> float:
            chance_nc = self.probabilities(logits_nc, float(np.exp(log_temperature)))
            hit_n = chance_nc[is_right_nc]
            if self.multilabel:
                hit_n = np.append(hit_n, 1 - chance_nc[~is_right_nc])
            doubt = 1 / (len(hit_n) + 2)
            return float(-(1 - doubt) * _log(hit_n).mean() - doubt * _log(1 - hit_n).mean())

        found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
        return float(np.exp(found.x))

    def decode(self, chance_c: np.ndarray) -> dict[str, object]:
        """One answer for people: label (or labels), probability, and all probabilities.

        Where samples may have several labels and none applies, the label is None; the probability
        is that of the likeliest class all the same.
        """
        every = {name: round(float(p), 6) for name, p in zip(self.classes, chance_c, strict=True)}
        top = int(chance_c.argmax())
        answer: dict[str, object] = {
            "label": self.classes[top],
            "probability": every[self.classes[top]],
            "probabilities": every,
        }
        if self.multilabel:
            answer["labels"] = [name for name, p in every.items() if p > 0.5]
            answer["label"] = self.classes[top] if answer["labels"] else None
        return answer

    def head(self, backbone: Backbone, seed: int, *, pretrained: bool = True) -> torch.nn.Linear:
        """The head as a module, vector_nd to logits_nc, from a seeded random start."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(seed, "head"))
            return torch.nn.Linear(backbone.width, len(self.classes))

    def head_parameters(self, backbone: Backbone) -> int:
        """See `Task`."""
        return len(self.classes) * (backbone.width + 1)

    def criterion(self, targets: np.ndarray, views: Sequence[View]) -> Criterion:
        """See `Task`; a view changes no label."""
        import torch

        target_nc = torch.from_numpy(targets)
        weight_n = torch.from_numpy(self.sample_weights(targets).astype(np.float32))

        def loss(outputs: Outputs, index_b: np.ndarray, view: int) -> torch.Tensor:
            device = outputs.device
            return self.loss(outputs, target_nc[index_b].to(device), weight_n[index_b].to(device))

        return loss

    def loss(
        self, logits_nc: torch.Tensor, target_nc: torch.Tensor, weight_n: torch.Tensor
    ) -> torch.Tensor:
        """Weighted mean of cross-entropy, or of one binary cross-entropy a class."""
        from torch.nn import functional

        if self.multilabel:
            loss_n = functional.binary_cross_entropy_with_logits(
                logits_nc, target_nc, reduction="none"
            ).sum(dim=1)
        else:
            loss_n = functional.cross_entropy(logits_nc, target_nc, reduction="none")
        return (loss_n * weight_n).mean()


def _log(chance: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(chance, 1e-12))
