"""What happens when a rung is trained, and what does not where it was before."""

from __future__ import annotations

import subprocess
import sys

BEGUN = """
import sys
from types import SimpleNamespace
from regraft.dataset import View
from regraft.transfer import fine_tuning
from regraft.transfer.fit import Rung

def is_there():
    print("torch._dynamo" in sys.modules)

def activations(*_):
    is_there()
    raise SystemExit

is_there()
fine_tuning.tail_of = lambda *_: SimpleNamespace(network=None)
ground = SimpleNamespace(
    dataset=SimpleNamespace(split=lambda name: []), validation=None, seed=0,
    cut=lambda frozen: SimpleNamespace(certify=lambda network: ""), views=lambda count: [View()],
    activations=activations,
)
fine_tuning.fine_tune(ground, "head", Rung("head", 1, 1, 1), {}, {})
"""


def test_what_optimisers_import_is_there_before_the_network_is_waited_for_and_not_sooner() -> None:
    """A command that finds everything memoised makes no optimiser."""
    run = subprocess.run([sys.executable, "-c", BEGUN], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]
