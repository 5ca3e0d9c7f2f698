"""A converted network simulated step by step without fastsnn: the original module, its activations made into neurons.

The module itself runs once per step. A dispatch mode catches every ReLU-like call and puts an integrate-and-fire neuron
in its place, one for each call of a step, in the order of the calls. Functions of means give at each step what they
change by, and may have a neuron behind them. Nothing here knows of fastsnn's graph or engine.
"""

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

ACTIVATIONS = {"relu", "relu_", "hardtanh", "hardtanh_", "clamp", "clamp_", "clamp_min", "clamp_min_", "threshold"}
ACTIVATIONS |= {"threshold_"}
# functions of two values
PRODUCTS = {"mul", "div", "bmm", "maximum"}


@dataclass
class Simulated:
    """logits   outputs averaged over the steps so far, [T, B, ...], one for each output of the module
    spikes   of each activation call, [T, B, C, *S] of 0 and 1
    """

    logits: list[Tensor] = field(default_factory=list)
    spikes: list[Tensor] = field(default_factory=list)


class _Neurons(TorchDispatchMode):
    def __init__(self, thresholds, start, reset, comparator, pooled, functions):
        super().__init__()
        self.functions, self.sums, self.before, self.step = functions, {}, {}, 0
        self.thresholds, self.start, self.reset, self.comparator = thresholds, start, reset, comparator
        self.pooled = {"gate": self.gated, "lateral": self.largest}.get(pooled)
        self.potential, self.counts, self.most, self.fired = {}, {}, {}, []
        self.calls = self.pools = 0

    def next_step(self):
        self.calls = self.pools = self.applied = 0
        self.step += 1
        self.fired.append([])

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in ACTIVATIONS:
            out = self.fire(args[0])
            # an in-place activation changes what others read
            return args[0].copy_(out) if name.endswith("_") else out
        if name == "maximum" and not args[1].any():
            return self.fire(args[0])
        if name in self.functions and all(isinstance(x, Tensor) for x in args[: 1 + (name in PRODUCTS)]):
            return self.changed(func, args, kwargs or {}, self.functions[name])
        if name == "max_pool2d_with_indices" and self.pooled:
            return self.pooled(func, args, kwargs or {})
        return func(*args, **(kwargs or {}))

    def changed(self, func, args, kwargs, least):
        """n f(m[n]) - (n - 1) f(m[n - 1]); with a neuron behind it where it has a least value."""
        index, self.applied, n = self.applied, self.applied + 1, self.step
        several = 1 + (func.overloadpacket.__name__ in PRODUCTS)
        sums = [x + s for x, s in zip(args[:several], self.sums.get(index, [0] * several), strict=True)]
        found = func(*(s / n for s in sums), *args[several:], **kwargs)
        tail = found[1:] if isinstance(found, tuple) else ()
        found = n * (found[0] if tail else found)
        out, self.sums[index], self.before[index] = found - self.before.get(index, 0), sums, found
        out = out if least is None else self.fire(out - least) + least
        return (out, *tail) if tail else out

    def fire(self, current):
        index, self.calls = self.calls, self.calls + 1
        theta = self.thresholds[index].to(current.dtype)
        if theta.ndim:
            # neurons behind a linear layer over tokens have the features' thresholds, which come last
            first = len(theta) == current.shape[1]
            theta = theta.reshape(-1, *[1] * (current.ndim - 2)) if first else theta
        start = self.start[index] if isinstance(self.start, list) else self.start
        v = self.potential.get(index, start * theta) + current
        spike = v >= theta if self.comparator == ">=" else v > theta
        self.potential[index] = v - theta * spike if self.reset == "soft" else torch.where(spike, 0.0, v)
        self.fired[-1].append(spike)
        return theta * spike

    def gated(self, func, args, kwargs):
        """Each window passes on the input that has spiked most so far, the first of several."""
        x, index = args[0], self.pools
        self.pools += 1
        counts = self.counts[index] = self.counts.get(index, 0) + (x > 0).double()
        # less than one spike, so that of equal counts the first wins
        earlier = torch.linspace(0.5, 0, x[0, 0].numel(), dtype=torch.float64).reshape(x.shape[2:])
        _, winner = func(counts + earlier, *args[1:], **kwargs)
        return x.flatten(2).gather(2, winner.flatten(2)).reshape(winner.shape), winner

    def largest(self, func, args, kwargs):
        """Each window emits what the largest sum of its inputs grows by."""
        index, self.pools = self.pools, self.pools + 1
        sums = self.counts[index] = self.counts.get(index, 0) + args[0]
        most, winner = func(sums, *args[1:], **kwargs)
        out, self.most[index] = most - self.most.get(index, 0), most
        return out, winner


def in_order(simulated, program):
    """The spikes of a simulation in the order in which a program has its neurons: features of tokens as channels."""
    shapes = [(layer.shape[-1], *layer.shape[:-1]) for layer in program.neurons.values()]
    pairs = zip(simulated.spikes, shapes, strict=True)
    return [s if tuple(s.shape[2:]) == shape else s.transpose(2, 3) for s, shape in pairs]


@torch.no_grad()
def simulate(module, x, T, thresholds, start=0.5, reset="soft", comparator=">=", pooled=None, functions=()):
    """Runs `module` for T steps on x [B, ...] in float64.

    thresholds   one for each activation call, in the order of the calls: a number or [C]
    start        V(0) in units of the threshold: a number, or a list with one [C, *S] for each activation call
    pooled       "gate": max pools pass on the most active input; "lateral": what the largest sum grows by; None: the
                 largest number
    functions    operator -> the least value of one that is a function of means with neurons behind it; None: without
    """
    module = copy.deepcopy(module).eval().double()
    x = x.double()
    neurons = _Neurons([theta.double() for theta in thresholds], start, reset, comparator, pooled, dict(functions))
    steps = []
    for _ in range(T):
        neurons.next_step()
        with neurons:
            steps.append(torch.utils._pytree.tree_leaves(module(x.clone())))
        assert neurons.calls == len(thresholds), f"{neurons.calls} activation calls, {len(thresholds)} thresholds"
    divisor = torch.arange(1, T + 1, dtype=torch.float64)
    means = []
    for outputs in zip(*steps, strict=True):
        total = torch.stack(outputs).cumsum(0)
        means.append(total / divisor.reshape(-1, *[1] * (total.ndim - 1)))
    return Simulated(means, [torch.stack(calls) for calls in zip(*neurons.fired, strict=True)])
