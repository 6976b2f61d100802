from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch

from regraft.backbones import Backbone, build, convert
from regraft.backbones.network import Network
from regraft.errors import BackboneError, UsageError
from regraft.transfer.cut import Cut, frozen_stages
from regraft.transfer.rungs import rung_names


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return convert(tiny.address("residual"))


def train_a_little(network: Network) -> None:
    """Whatever may be trained is; train() is called as every loop does."""
    network.train()
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1)
    for step in range(3):
        torch.manual_seed(step)
        pixels = torch.randint(0, 256, (4, tiny.SIZE_PX, tiny.SIZE_PX, 3), dtype=torch.uint8)
        optimiser.zero_grad()
        network(pixels).square().sum().backward()
        optimiser.step()


def freeze_naively(network: Network, frozen: int) -> None:
    for stage in network.stages[:frozen]:
        stage.requires_grad_(False)


# --train ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "frozen"), [("head", 9), ("last:1", 8), ("last:4", 5), ("last:9", 0), ("all", 0)]
)
def test_stages_are_counted_from_the_head(train: str, frozen: int) -> None:
    assert frozen_stages(train, 9) == frozen


@pytest.mark.parametrize(
    "train", ["last:0", "last:10", "last:", "last", "last:-1", "last:" + "9" * 5000, "x", "", "2"]
)
def test_what_does_not_count_stages_is_refused(train: str) -> None:
    with pytest.raises(UsageError) as refused:
        frozen_stages(train, 9)
    assert "ladder" not in refused.value.mend, "`pretrain`, which asks, has none"


def test_fit_may_be_told_of_the_ladder_too() -> None:
    with pytest.raises(UsageError, match="use ladder, head, last:K"):
        rung_names("some", 9)


# The certificate ----------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [0, 1, 2, 4])
def test_file_and_live_network_have_one_fingerprint(backbone: Backbone, frozen: int) -> None:
    cut = Cut(backbone, frozen)
    network = build(backbone)
    assert cut.certify(network) == cut.fingerprint()
    assert cut.certify(network.to(memory_format=torch.channels_last)) == cut.fingerprint()


def test_fingerprints_differ_from_cut_to_cut(backbone: Backbone) -> None:
    assert len({Cut(backbone, frozen).fingerprint() for frozen in range(3)}) == 3


@pytest.mark.parametrize(
    "name", ["stem.0.weight", "stem.1.running_var", "stem.1.num_batches_tracked", "stem.1.bias"]
)
def test_one_changed_number_left_of_the_cut_shows(backbone: Backbone, name: str) -> None:
    network, cut = build(backbone), Cut(backbone, 1)
    with torch.no_grad():
        tensor = network.tensors()[name]
        tensor.view(-1)[0] = torch.nextafter(tensor.view(-1)[0].float(), torch.tensor(9.0)) + (
            tensor.dtype == torch.int64
        )
    assert cut.certify(network) != cut.fingerprint()


def test_what_is_right_of_the_cut_does_not_count(backbone: Backbone) -> None:
    network, cut = build(backbone), Cut(backbone, 1)
    with torch.no_grad():
        network.tensors()["block.conv1.weight"].zero_()
    assert cut.certify(network) == cut.fingerprint()


def test_a_file_that_lacks_a_tensor_is_named(backbone: Backbone, tmp_path: Path) -> None:
    data = backbone.weights.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    del header["stem.0.weight"]
    head = json.dumps(header).encode()
    path = tmp_path / "less.safetensors"
    path.write_bytes(len(head).to_bytes(8, "little") + head + data[8 + length :])
    lacking = Backbone.from_json(backbone.to_json(), path)
    with pytest.raises(BackboneError, match=r"stem\.0\.weight"):
        Cut(lacking, 1).fingerprint()


# Freezing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [1, 2, 3])
def test_training_leaves_the_left_part_untouched(backbone: Backbone, frozen: int) -> None:
    network, cut = build(backbone), Cut(backbone, frozen)
    cut.freeze(network)
    train_a_little(network)
    assert cut.certify(network) == cut.fingerprint()


def test_the_right_part_does_change(backbone: Backbone) -> None:
    network, cut = build(backbone), Cut(backbone, 1)
    cut.freeze(network)
    train_a_little(network)
    whole = Cut(backbone, 2)
    assert whole.certify(network) != whole.fingerprint()


def test_leaving_out_gradients_alone_is_not_freezing(backbone: Backbone) -> None:
    network, cut = build(backbone), Cut(backbone, 1)
    freeze_naively(network, 1)
    train_a_little(network)
    assert cut.certify(network) != cut.fingerprint()


def test_train_called_on_a_part_does_not_wake_it(backbone: Backbone) -> None:
    network = build(backbone)
    Cut(backbone, 2).freeze(network)
    network.stages[0][1].train()
    network.stages[1].train(True)
    network.stages.train()
    assert not any(module.training for stage in network.stages[:2] for module in stage.modules())
    assert network.stages[2].training


def test_a_copy_of_a_frozen_network_is_frozen(backbone: Backbone) -> None:
    network, cut = build(backbone), Cut(backbone, 1)
    cut.freeze(network)
    twin = copy.deepcopy(network)
    train_a_little(twin)
    assert cut.certify(twin) == cut.fingerprint()
    assert twin.stages[0][1].train() is twin.stages[0][1]


def test_moving_the_cut_wakes_what_is_right_of_it(backbone: Backbone) -> None:
    network, cut = build(backbone), Cut(backbone, 1)
    Cut(backbone, 4).freeze(network)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    cut.freeze(network)
    network.train()
    assert network.stages[1].training and not network.stages[0].training
    train_a_little(network)
    whole = Cut(backbone, 2)
    assert cut.certify(network) == cut.fingerprint()
    assert whole.certify(network) != whole.fingerprint()


def test_shapes_at_the_cut(backbone: Backbone) -> None:
    assert Cut(backbone, 0).shapes == ((32, 32, 3),)
    assert Cut(backbone, 3).shapes == ((8, 16, 16), (8, 8, 8))
    assert Cut(backbone, 4).shapes == ((16,),)


# Imports ------------------------------------------------------------------------------------------


def test_fingerprints_need_no_torch_and_openvino_reports_nothing(
    backbone: Backbone, tmp_path: Path
) -> None:
    description = tiny.written(backbone, tmp_path / "backbone.json")
    program = """
import json, sys
from pathlib import Path
from regraft.backbones.backbone import Backbone
from regraft.openvino_runtime import import_openvino
from regraft.transfer.cut import Cut
values, weights = json.loads(Path(sys.argv[1]).read_text())
print(Cut(Backbone.from_json(values, Path(weights)), 2).fingerprint())
import_openvino()
print("torch" in sys.modules, sys.modules["openvino_telemetry"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, description], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [Cut(backbone, 2).fingerprint(), "False", "None"]
