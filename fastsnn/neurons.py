"""What a neuron is: the rules of its step, apart from its numbers (threshold, initial potential, bias)."""

from dataclasses import dataclass
from functools import cached_property
from math import inf, isfinite

from fastsnn.firing import QUARTERS, RESETS, Firing, Plane

COMPARATORS = (">=", ">")
EMISSIONS = ("causal", "ordered", "random", "offset")


class _Spiking:
    """What neurons have in common that emit one spike a step."""

    def steps_of(self, T: int) -> int:
        """What the sum of its output over T steps is divided by for the mean."""
        return T

    @property
    def peak(self) -> float:
        """The most that it emits at a step, in thresholds."""
        return 1.0

    @property
    def bound(self) -> float:
        """What its mean output does not exceed, in thresholds."""
        return 1.0


@dataclass(frozen=True)
class IF(_Spiking):
    """Integrate-and-fire.

        V = leak V + I[t];   s[t] = V >= threshold;   V -= s[t] * threshold (soft)   or   V = 0 where s[t] (hard)

    reset       "soft" (by subtraction: the conversion literature's choice, it loses no charge) or "hard" (to zero)
    comparator  ">=" (OPI, QCFS, SRP, COS) or ">" (inference-scale conversion)
    emission    when the spikes come: "causal", at the step that brings V to the threshold; or, of neurons that know
                all of their input first, "ordered" or "random", see `fastsnn.ops.emit`, or "offset": run twice, see
                `fastsnn.ops.restart`. These need soft reset and ">="
    seed        of random spikes
    probe       steps of the first run of "offset"
    leak        share of V that is kept from step to step, 1 is all of it (LIF where it is less). In fixed point a
                multiple of 2^-15, and not in 16 bits
    """

    reset: str = "soft"
    comparator: str = ">="
    emission: str = "causal"
    seed: int = 0
    probe: int = 4
    leak: float = 1.0
    wake = None
    differential = False
    floating = False

    def __post_init__(self) -> None:
        if self.reset not in RESETS:
            raise ValueError(f"IF: reset must be one of {RESETS}, got {self.reset!r}")
        if self.comparator not in COMPARATORS:
            raise ValueError(f"IF: comparator must be one of {COMPARATORS}, got {self.comparator!r}")
        if self.emission not in EMISSIONS:
            raise ValueError(f"IF: emission must be one of {EMISSIONS}, got {self.emission!r}")
        if not 0 <= self.leak <= 1:
            raise ValueError(f"IF: leak is the share of the potential that is kept, 0 to 1, got {self.leak}")
        if self.waits and (self.reset, self.comparator, self.leak) != ("soft", ">=", 1):
            raise ValueError(
                f'IF: emission "{self.emission}" needs reset "soft" and comparator ">=", got {self.reset!r}, '
                f"{self.comparator!r}" + ("" if self.leak == 1 else f" and a leak of {self.leak}")
            )

    @property
    def waits(self) -> bool:
        """Whether it has to know all of its input before it fires."""
        return self.emission != "causal"

    @cached_property
    def firing(self) -> Firing:
        return Firing(self.reset, leak=self.leak)


@dataclass(frozen=True)
class Graded:
    """Integrate-and-fire neurons, soft reset, that emit more than a spike a step, or take spikes back.

    What a neuron emits at a step is a sum of amplitudes, one a plane; readers take each plane as spikes with their
    weight times its amplitude. See `fastsnn.firing` for the step, `levels`, `taken_back` and `powers` for planes.

    planes        of whole amplitudes, in thresholds, in the order in which they are tried
    single        one plane a step at most
    below         negative planes fire below their level, not at it
    most          of what is emitted in sum; None without end
    by_step       in sum no more than there were steps, either
    differential  spikes are changes of a running mean (DCGS): V and what was emitted grow by 1 / (t - 1) each step
    wake          steps at the start that image and biases are given in; None: all. Spikes go on to even out
    comparator    of positive planes
    leak          share of V that is kept from step to step, as in `IF`
    """

    planes: tuple[Plane, ...]
    single: bool = False
    below: bool = False
    most: int | None = None
    by_step: bool = False
    differential: bool = False
    wake: int | None = None
    comparator: str = ">="
    leak: float = 1.0
    reset = "soft"
    emission = "causal"
    waits = False
    floating = False
    seed, probe = 0, 0

    def __post_init__(self) -> None:
        if not 0 <= self.leak <= 1:
            raise ValueError(f"Graded: leak is the share of the potential that is kept, 0 to 1, got {self.leak}")
        if self.comparator not in COMPARATORS:
            raise ValueError(f"Graded: comparator must be one of {COMPARATORS}, got {self.comparator!r}")
        if self.wake is not None and self.wake < 1:
            raise ValueError(f"Graded: input must be given for a step at least, got wake={self.wake}")
        # raises for planes that no kernel can have
        _ = self.firing

    @cached_property
    def firing(self) -> Firing:
        return Firing(
            "soft", self.planes, self.single, self.below, self.most, self.by_step, self.leak, self.differential
        )

    def steps_of(self, T: int) -> int:
        """What the sum of its output over T steps is divided by for the mean; where it is differential, 1 / t each."""
        return 1 if self.differential else min(T, self.wake or T)

    @property
    def peak(self) -> float:
        """The most that it emits at a step, in thresholds."""
        positive = [plane.amplitude for plane in self.planes if plane.amplitude > 0]
        return float(max(positive) if self.single else sum(positive))

    @property
    def bound(self) -> float:
        """What its mean output does not exceed, in thresholds; infinite where spikes are changes of it."""
        if self.differential:
            return inf
        return self.peak if self.most is None or self.wake is None else min(self.peak, self.most / self.wake)


@dataclass(frozen=True)
class Adaptive:
    """Neurons whose threshold follows their potential and their current (MSAT); a spike is worth its threshold.

    With x[t] the current, v[t] the potential after step t, m[t] the mean of v[1] .. v[t], in layer thresholds theta:

        follows[t] = tau_mp (a (v[t-1] - m[t-1]) - 1 + ka log(1 + exp((v[t-1] - m[t-1]) / ki)))
        evoked[t]  = tau_rd exp(-x[t] / c)
        h[t] = sigmoid(follows[t] + evoked[t]),   h[1] = 1
        v[t] = v[t-1] + x[t];   where v[t] >= h[t]:   v[t] -= h[t], and h[t] is emitted

    h is rounded to a multiple of 1/256, from 1/256 to 255/256 after the first step. It is emitted as its bits, one
    plane each, and what is taken from v is the rounded number, so that no charge is lost. Numbers of a layer are in
    units of theta / 256, which is the threshold that the rest of the program knows.

    Exponentials have no fixed-point form: `floating`. The operator is `fastsnn.ops.adaptive.adaptive_steps`.
    """

    a: float = 0.03
    ka: float = 1.0
    ki: float = 1.0
    c: float = 5.0
    tau_mp: float = 1.0
    tau_rd: float = 1.0
    reset = "soft"
    comparator = ">="
    emission = "causal"
    waits = False
    wake = None
    differential = False
    floating = True
    seed, probe = 0, 0
    # what theta is in the units of a layer's numbers
    units = 256

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = "above" if name in ("ki", "c") else "at least"
            number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
            if not number or value < 0 or (value == 0 and least == "above"):
                raise ValueError(f"Adaptive: {name} must be a number {least} 0, got {value!r}")

    @cached_property
    def firing(self) -> Firing:
        """Its planes: amplitudes 256, 128, .. 1. Where they fire is not in it: kernels of tables cannot take it."""
        amplitudes = [2**k for k in reversed(range(self.units.bit_length()))]
        return Firing(planes=tuple(Plane(amplitude, QUARTERS * amplitude) for amplitude in amplitudes), kernels=False)

    def steps_of(self, T: int) -> int:
        """What the sum of its output over T steps is divided by for the mean."""
        return T

    @property
    def peak(self) -> float:
        """The most that it emits at a step, in units of theta / 256."""
        return float(self.units)

    @property
    def bound(self) -> float:
        """What its mean output does not exceed, in units of theta / 256."""
        return float(self.units)


@dataclass(frozen=True)
class Synaptic(_Spiking):
    """Integrate-and-fire neurons behind a synapse: a current that decays from step to step.

        J = synapse J + I[t];   V = leak V + J + drift threshold;   then as `IF`

    The sum is filtered outside of the kernels, which run `membrane` on it: `floating`.

    synapse   share of the current that is kept from step to step
    Others as in `IF`.
    """

    synapse: float
    reset: str = "soft"
    comparator: str = ">="
    leak: float = 1.0
    drift: float = 0.0
    emission = "causal"
    waits = False
    wake = None
    differential = False
    floating = True
    seed, probe = 0, 0

    def __post_init__(self) -> None:
        if not 0 <= self.synapse <= 1:
            raise ValueError(f"Synaptic: synapse is the share of the current that is kept, 0 to 1, got {self.synapse}")
        # raises for rules that no neuron has
        _ = self.membrane

    @property
    def membrane(self) -> IF:
        """The neuron that the filtered current drives."""
        return IF(self.reset, self.comparator, leak=self.leak)

    @cached_property
    def firing(self) -> Firing:
        """Its plane; its state has the current beside the potential, so that no kernel takes it."""
        return Firing(self.reset, leak=self.leak, kernels=False)


Neuron = IF | Graded | Adaptive | Synaptic


def code_of(neuron: Neuron | None, reset: str, comparator: str) -> tuple[str, str]:
    """(code of the rules, comparator) of a neuron, or of plain ones where none is given."""
    return (reset, comparator) if neuron is None else (neuron.firing.code, neuron.comparator)
