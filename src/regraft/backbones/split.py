"""How any traceable network is divided into stages.

The network is traced once, symbolically, with torch.fx. Every operation goes to the stage of the
tensors it uses, never earlier than what it takes in; what uses no tensor stays with its inputs.
One graph per stage is then built on the original modules, so that names in `state_dict`, and
train() and eval(), stay the network's own. What a later stage needs travels as a tuple.

A boundary is given up, and its two stages become one, where something would have to cross that
a sample cannot carry: a value without a batch axis, or a weight that both sides use.

Shapes are those of one picture size; only the batch may vary.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

BATCHES = (2, 3)  # two sizes tell what grows with the batch from what does not


class NotTraceable(Exception):
    """The network's own code cannot be followed symbolically."""


@dataclass(frozen=True)
class Leaves:
    """What a trace does not look into: the library's own modules and functions."""

    modules: tuple[type[nn.Module], ...] = ()
    functions: tuple[Any, ...] = ()


class _Tracer(fx.Tracer):
    # Buffers that are loaded and saved become nodes, as parameters do; otherwise what is computed
    # from them would be baked in. The others are constants of the architecture.
    proxy_buffer_attributes = True

    def __init__(self, leaves: Leaves, constants: frozenset[int]) -> None:
        super().__init__(autowrap_functions=leaves.functions)
        self.leaves = leaves.modules
        self.constants = constants

    def create_args_for_root(
        self, root_fn: Any, is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        # Pixels only: further arguments of a forward (a mask, say) keep their defaults.
        return root_fn, [self.root, self.create_proxy("placeholder", "pixels", (), {})]

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if id(attr_val) in self.constants:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        # A module without children may ask for self.training, which a trace would bake in.
        childless = next(m.children(), None) is None
        opaque = childless or isinstance(m, self.leaves)
        return opaque or super().is_leaf_module(m, module_qualified_name)


class _Recorder(fx.Interpreter):
    """Runs a graph on tensors without data, and keeps what every node gives."""

    def __init__(self, twin: nn.Module, graph: fx.Graph) -> None:
        super().__init__(twin, garbage_collect_values=False, graph=graph)
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.values[n] = super().run_node(n)
        return self.values[n]

    def fetch_attr(self, target: str) -> Any:
        value = super().fetch_attr(target)
        return value.to("meta") if isinstance(value, torch.Tensor) else value


@dataclass(frozen=True)
class _Traced:
    """A trace with what it takes to divide it.

    Attributes:
        root: the network itself.
        graph: its operations, in order.
        values: what each gives at each of the two batch sizes (tensors without data).
        owned: the names in `state_dict` that each uses.
        constants: operations that give the same length, shape or flag at either batch size.
        fed: operations whose result depends on the pixels.
        carried: those whose result depends on the pixels or on a tensor of `state_dict`; the
            others can be repeated wherever they are needed.
    """

    root: nn.Module
    graph: fx.Graph
    values: tuple[dict[fx.Node, Any], ...]
    owned: dict[fx.Node, tuple[str, ...]]
    constants: frozenset[fx.Node]
    fed: frozenset[fx.Node]
    carried: frozenset[fx.Node]


def split(
    root: nn.Module, group_of: Mapping[str, int], size_px: int, leaves: Leaves
) -> list[fx.GraphModule]:
    """Divide a network, in eval mode, into stages that compose to it bit for bit.

    Args:
        root: from (B, 3, size_px, size_px) to one tensor. Its modules are used, not copied.
        group_of: for each name in `state_dict`, the number of the group it belongs to.
        size_px: side of the input.
        leaves: what not to look into.

    Returns:
        One module per stage; forward(*tensors) gives a tensor, or a tuple if several cross.

    Raises:
        NotTraceable: see there.
    """
    traced = _trace(root, size_px, leaves)
    level = _levels(traced, group_of)
    cuts = _cuts(traced, level)
    stage_of = {node: sum(cut <= at for cut in cuts) for node, at in level.items()}
    return [_stage(traced, stage_of, index) for index in range(len(cuts) + 1)]


def _trace(root: nn.Module, size_px: int, leaves: Leaves) -> _Traced:
    twin = copy.deepcopy(root).eval()  # some modules cache what they compute, here symbols
    try:
        saved = {id(tensor) for tensor in twin.state_dict(keep_vars=True).values()}
        constants = frozenset(id(buffer) for buffer in twin.buffers()) - saved
        graph = _Tracer(leaves, constants).trace(twin)
        _adopt_constants(root, twin, graph)
        _forget_devices(graph)
        twin = twin.to("meta")
        values = tuple(_record(twin, graph, batch, size_px) for batch in BATCHES)
    except Exception as fault:  # whatever the library's code runs into when given symbols
        raise NotTraceable(f"{type(fault).__name__}: {fault}".splitlines()[0]) from fault
    state = set(root.state_dict())
    owned = {node: tuple(_owned(root, node, state)) for node in graph.nodes}
    constants = frozenset(node for node in graph.nodes if _is_constant(*(v[node] for v in values)))
    pixels = {node for node in graph.nodes if node.op == "placeholder"}
    fed = _downstream(graph, pixels, constants)
    carried = _downstream(graph, pixels | {node for node in owned if owned[node]}, constants)
    return _Traced(root, graph, values, owned, constants, fed, carried)


def _downstream(
    graph: fx.Graph, sources: set[fx.Node], constants: frozenset[fx.Node]
) -> frozenset[fx.Node]:
    reached: set[fx.Node] = set()
    for node in graph.nodes:
        if node in sources or not reached.isdisjoint(node.all_input_nodes):
            if node not in constants:
                reached.add(node)
    return frozenset(reached)


def _adopt_constants(root: nn.Module, twin: nn.Module, graph: fx.Graph) -> None:
    """Tensors made while tracing hang on the traced twin; the network needs them as well."""
    for node in graph.nodes:
        if node.op == "get_attr" and node.target.startswith("_tensor_constant"):
            constant = getattr(twin, node.target)
            delattr(twin, node.target)
            for module in (twin, root):
                module.register_buffer(node.target, constant, persistent=False)


def _forget_devices(graph: fx.Graph) -> None:
    """A cast written down with the device it was traced on would be wrong on any other."""
    for node in graph.nodes:
        if node.op == "call_method" and node.target == "to" and len(node.kwargs) > 1:
            node.kwargs = {key: value for key, value in node.kwargs.items() if key != "device"}


def _record(twin: nn.Module, graph: fx.Graph, batch: int, size_px: int) -> dict[fx.Node, Any]:
    recorder = _Recorder(twin, graph)
    with torch.no_grad(), torch.device("meta"):
        recorder.run(torch.empty(batch, 3, size_px, size_px))
    return recorder.values


def _owned(root: nn.Module, node: fx.Node, state: set[str]) -> Iterator[str]:
    if node.op == "get_attr" and node.target in state:
        yield str(node.target)
    if node.op == "call_module":
        module = root.get_submodule(str(node.target))
        yield from (f"{node.target}.{name}" for name in module.state_dict())


def _levels(traced: _Traced, group_of: Mapping[str, int]) -> dict[fx.Node, int]:
    """The group of each node: of its tensors, its module or its inputs, whichever is latest."""
    level: dict[fx.Node, int] = {}
    inside = _groups_inside(group_of)
    for node in traced.graph.nodes:
        groups = [group_of[name] for name in traced.owned[node]] or _surroundings(node, inside)
        level[node] = max([0, *groups, *(level[source] for source in node.all_input_nodes)])
    for node in reversed(traced.graph.nodes):
        if node not in traced.fed and node.users:
            # What a stage makes of its weights alone is made where it is used.
            level[node] = min(level[user] for user in node.users)
    return level


def _groups_inside(group_of: Mapping[str, int]) -> dict[str, set[int]]:
    """For each module's path, the groups that its tensors belong to."""
    inside: dict[str, set[int]] = {}
    for name, group in group_of.items():
        path = name
        while path:
            path = path.rpartition(".")[0]
            inside.setdefault(path, set()).add(group)
    return inside


def _surroundings(node: fx.Node, inside: Mapping[str, set[int]]) -> list[int]:
    """The group of the innermost module that an operation without tensors was called in."""
    for path in reversed(list(node.meta.get("nn_module_stack", {}))):
        if path in inside:
            return list(inside[path]) if len(inside[path]) == 1 else []
    return []


def _cuts(traced: _Traced, level: Mapping[fx.Node, int]) -> list[int]:
    """The levels before which the network can be cut."""
    cuts = set(range(1, max(level.values()) + 1))
    span: dict[str, list[int]] = {}
    for node, names in traced.owned.items():
        for name in names:
            span.setdefault(name, []).append(level[node])
    for levels in span.values():
        cuts -= set(range(min(levels) + 1, max(levels) + 1))
    cuts = {
        cut
        for cut in cuts
        if all(_portable(traced, node) for node in _crossing(traced, level, cut))
    }
    parameters = dict(traced.root.named_parameters(remove_duplicate=False))
    heavy = {
        min(span[name]) for name, value in parameters.items() if value.ndim > 1 and name in span
    }
    return _worth_cutting(sorted(cuts), heavy)


def _worth_cutting(cuts: Sequence[int], heavy: set[int]) -> list[int]:
    """Leave out cuts that would set apart a stage without a weight matrix (a norm, a pooling)."""
    kept: list[int] = []
    for cut in cuts:
        left = max(kept, default=0)
        if any(left <= at < cut for at in heavy):
            kept.append(cut)
    if kept and not any(at >= kept[-1] for at in heavy):
        kept.pop()
    return kept


def _crossing(traced: _Traced, level: Mapping[fx.Node, int], cut: int) -> list[fx.Node]:
    """What is made before a cut and used after it, in order."""
    return [
        node
        for node in traced.graph.nodes
        if node in traced.carried
        and level[node] < cut
        and any(level[user] >= cut for user in node.users)
    ]


def _portable(traced: _Traced, node: fx.Node) -> bool:
    """Whether a value can cross a boundary: samples along the first axis, or a multiple of them."""
    few, many = (values[node] for values in traced.values)
    if isinstance(few, torch.Tensor):
        lengths = (few.shape[:1], many.shape[:1])
        return lengths == tuple((batch,) for batch in BATCHES) and few.shape[1:] == many.shape[1:]
    return _is_multiple(few, many)


def _is_multiple(few: Any, many: Any) -> bool:
    if isinstance(few, (tuple, list)):
        return all(map(_is_multiple, few, many))
    grows = isinstance(few, int) and few * BATCHES[1] == many * BATCHES[0]
    return grows or _is_constant(few, many)


def _is_constant(few: Any, many: Any) -> bool:
    if isinstance(few, (tuple, list)):
        return all(map(_is_constant, few, many))
    return few is None or (isinstance(few, (int, float, str)) and few == many)


def _stage(traced: _Traced, stage_of: Mapping[fx.Node, int], index: int) -> fx.GraphModule:
    """The graph of one stage, on the network's own modules."""
    graph = fx.Graph()
    env: dict[fx.Node, Any] = {}
    flowing = [n for n in _crossing(traced, stage_of, index) if _is_tensor(traced, n)]
    for position, node in enumerate(flowing):
        env[node] = graph.placeholder(f"value_{position}")

    def local(node: fx.Node) -> Any:
        if node not in env:
            if node in traced.constants:
                env[node] = traced.values[0][node]
            elif node in traced.carried:
                env[node] = _length(graph, env[flowing[0]], *(v[node] for v in traced.values))
            else:
                env[node] = graph.node_copy(node, local)
        return env[node]

    for node in traced.graph.nodes:
        if stage_of[node] == index and node.op != "output" and node in traced.carried:
            env[node] = graph.node_copy(node, local)
    leaving = [n for n in _crossing(traced, stage_of, index + 1) if _is_tensor(traced, n)]
    if leaving:
        graph.output(env[leaving[0]] if len(leaving) == 1 else tuple(env[n] for n in leaving))
    else:
        (output,) = (node for node in traced.graph.nodes if node.op == "output")
        graph.output(env[output.all_input_nodes[0]])
    return _module(traced.root, graph)


def _is_tensor(traced: _Traced, node: fx.Node) -> bool:
    return isinstance(traced.values[0][node], torch.Tensor)


def _length(graph: fx.Graph, flowing: fx.Node, few: Any, many: Any) -> Any:
    """A length or a shape from an earlier stage: a constant, or so many times the batch."""
    if isinstance(few, (tuple, list)):
        return tuple(_length(graph, flowing, *each) for each in zip(few, many, strict=True))
    if few == many:
        return few
    rows = graph.call_method("size", (flowing, 0))
    return graph.call_function(operator.mul, (rows, few // BATCHES[0]))


def _module(root: nn.Module, graph: fx.Graph) -> fx.GraphModule:
    """A GraphModule that keeps which buffers belong into `state_dict`."""
    state = set(root.state_dict())
    module = fx.GraphModule(root, graph)
    for node in graph.nodes:
        if node.op == "get_attr" and node.target not in state:
            path, _, name = str(node.target).rpartition(".")
            owner = module.get_submodule(path)
            value = getattr(owner, name)
            delattr(owner, name)
            owner.register_buffer(name, value, persistent=False)
    return module
