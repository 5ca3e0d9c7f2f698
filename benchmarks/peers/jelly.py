"""The same spiking network as SpikingJelly 2 converts it, where that is installed."""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import version
from types import ModuleType

import torch
from baselines import folded
from torch import Tensor, fx, nn
from torch.nn import functional as F

REMEDY = "not installed: pip install 'fastsnn[peers]'"


@cache
def found() -> tuple[ModuleType | None, str]:
    """(spikingjelly's converter, its version), or (None, why not)."""
    try:
        return import_module("spikingjelly.activation_based.ann2snn"), f"SpikingJelly {version('spikingjelly')}"
    except ImportError as error:
        return None, f"SpikingJelly does not load ({error}); {REMEDY}"


class Converted(nn.Module):
    """Images -> mean logits: rate coding, multi-step mode, soft-reset IFNode from theta / 2, with these thresholds.

    The thresholds replace those that SpikingJelly finds, so that both do the same work.

    net    what its converter made, without an axis of time in front of the images
    nodes  its neurons, in order of execution
    """

    def __init__(self, model: nn.Module, calibration: Tensor, thresholds: Sequence[Tensor], T: int) -> None:
        super().__init__()
        ann2snn, why = found()
        if ann2snn is None:
            raise RuntimeError(why)
        recipes = import_module("spikingjelly.activation_based.ann2snn.recipes")
        self.functional = import_module("spikingjelly.activation_based.functional")
        recipe = recipes.RateCodingRecipe(calibration.split(32), channel_wise=True)
        self.T = T
        self.net = ann2snn.Converter(recipe).convert(_as_modules(folded(model, lambda i: nn.ReLU())))
        self.nodes = []
        for i, theta in enumerate(thresholds):
            block = self.net.get_submodule(f"activations.channel_spiking_{i}")
            block.scaler0.scale, block.scaler1.scale = (1 / theta).float(), theta.float()
            self.nodes.append(block.if_node)
        self.functional.set_step_mode(self.net, "m")

    def forward(self, x: Tensor) -> Tensor:
        self.functional.reset_net(self.net)
        # not its HalfThresholdIFNode, which does the same in more time
        for node in self.nodes:
            node.v = 0.5 * node.v_threshold
        return self.net(x.unsqueeze(0).expand(self.T, *x.shape)).mean(0)

    def recorded(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Mean logits, and the spikes of each layer in order of execution: [T, B, *N] bool."""
        spikes: list[Tensor] = []
        hooks = [node.register_forward_hook(lambda *call: spikes.append(call[-1] != 0)) for node in self.nodes]
        try:
            return self(x), spikes
        finally:
            for hook in hooks:
                hook.remove()


def _as_modules(net: fx.GraphModule) -> fx.GraphModule:
    """Functions that SpikingJelly does not know, as modules that it does; zero-padded shortcuts as 1x1 convolutions."""
    for number, node in enumerate(list(net.graph.nodes)):
        if node.op != "call_function":
            continue
        if node.target is F.adaptive_avg_pool2d:
            source = node.args[0]
            module: nn.Module = nn.AdaptiveAvgPool2d(node.args[1])
        elif node.target is F.pad:
            source = node.args[0].args[0]
            module = _option_a(_channels(net, source), node.args[1][-1])
        else:
            continue
        net.add_submodule(f"module{number}", module)
        with net.graph.inserting_before(node):
            node.replace_all_uses_with(net.graph.call_module(f"module{number}", (source,)))
        net.graph.erase_node(node)
    net.graph.eliminate_dead_code()
    net.recompile()
    return net


def _option_a(channels: int, added: int) -> nn.Conv2d:
    """Every second position, `added` channels of zeros on either side."""
    conv = nn.Conv2d(channels, channels + 2 * added, 1, stride=2, bias=False)
    rows = torch.arange(channels)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[rows + added, rows] = 1.0
    return conv


def _channels(net: fx.GraphModule, node: fx.Node) -> int:
    """Channels of the first convolution upstream."""
    module = net.get_submodule(str(node.target)) if node.op == "call_module" else None
    return module.out_channels if isinstance(module, nn.Conv2d) else _channels(net, node.args[0])
