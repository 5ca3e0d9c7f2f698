"""What kernels know of a neuron's step beside its numbers: which planes it fires on, and what its potential keeps.

A step of a neuron with potential V, and of one that counts also with N, what it has emitted so far:

    V += gain[t] V;   V += I[t]
    for each plane with amplitude a and level g, in order:
        a > 0:  fires where V >= g theta (comparator ">": above it), and N + a <= cap[t]
        a < 0:  fires where V <= -g theta (`below`: under it), and N >= |a|
        where it fires:  V -= a theta (soft)   or   V = 0 at the end of the step (hard);   N += a
    with `single`, a neuron fires on one plane a step at most

One plane with a = g = 1 is an integrate-and-fire neuron. In fixed point a gain is a multiple of 2^-15,

    V += floor(min(max(V, -2^29), 2^29) gain)

exactly, and 32-bit counts are kept in 1/256, which matters where they have a gain.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

RESETS = ("soft", "hard")
# levels are in quarters of a threshold, gains in fixed point in units of 2^-GAIN_BITS
QUARTERS, GAIN_BITS = 4, 15
# what one level counts as
COUNT_UNIT_32 = 256
# as many planes as kernels have room for, and how much one may be worth
MOST_PLANES, MOST_AMPLITUDE = 16, 2**10


class Plane(NamedTuple):
    """One word of a neuron.

    amplitude  what a spike is worth in thresholds, a whole number that is not 0
    level      where it fires, in quarters of a threshold above 0; of a negative plane below 0
    """

    amplitude: int
    level: int


@dataclass(frozen=True)
class Firing:
    """The rules of a step as above.

    most          of what is emitted in sum (cap), None without end; `by_step`: and no more than there were steps
    leak          share of V that is kept from step to step: gain = leak - 1
    differential  gain[t] = 1 / (t - 1) from the second step on, of the count as well
    first         steps of the run before this one
    kernels       False: the step is another one, of an operator of its own; these are its planes, it keeps two numbers
    """

    reset: str = "soft"
    planes: tuple[Plane, ...] = (Plane(1, QUARTERS),)
    single: bool = False
    below: bool = False
    most: int | None = None
    by_step: bool = False
    leak: float = 1.0
    differential: bool = False
    first: int = 0
    kernels: bool = True

    def __post_init__(self) -> None:
        if self.reset not in RESETS:
            raise ValueError(f"reset must be one of {RESETS}, got {self.reset!r}")
        if not 1 <= len(self.planes) <= MOST_PLANES:
            raise ValueError(f"a neuron has 1 to {MOST_PLANES} planes, got {len(self.planes)}")
        for amplitude, level in self.planes:
            if not 1 <= abs(amplitude) <= MOST_AMPLITUDE or not 0 <= level <= QUARTERS * MOST_AMPLITUDE:
                raise ValueError(
                    f"planes have amplitudes of 1 to {MOST_AMPLITUDE}, or minus that, and levels of 0 to "
                    f"{QUARTERS * MOST_AMPLITUDE} quarters, got {amplitude} at {level}"
                )
        if not 0 <= self.leak <= 1:
            raise ValueError(f"leak is the share of the potential that is kept, 0 to 1, got {self.leak}")
        if self.differential and self.leak != 1:
            raise ValueError(f"a differential neuron has no leak, got {self.leak}")
        if self.reset == "hard" and (self.single or any(plane.amplitude < 0 for plane in self.planes)):
            raise ValueError("hard reset is for neurons without negative spikes, that fire on all planes they reach")

    @property
    def plain(self) -> bool:
        """Whether this is an integrate-and-fire neuron and nothing more."""
        return self == Firing(self.reset, first=self.first)

    @property
    def counted(self) -> bool:
        """Whether its state has a second number: what it has emitted, or what a step of its own keeps."""
        return self.most is not None or not self.kernels or any(plane.amplitude < 0 for plane in self.planes)

    @property
    def amplitudes(self) -> tuple[int, ...]:
        return tuple(plane.amplitude for plane in self.planes)

    def words_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the words of neurons of a shape: [planes, *shape] where there are several."""
        return tuple(shape) if len(self.planes) == 1 else (len(self.planes), *shape)

    def state_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of what they are left in: potentials, or potentials and counts [2, *shape]."""
        return (2, *shape) if self.counted else tuple(shape)

    def at(self, step: int) -> "Firing":
        """The same, for a chunk that begins after `step` steps of the run."""
        return replace(self, first=step) if self.differential or self.by_step else self

    def gains(self, T: int) -> tuple[float, ...] | None:
        """Of each of the next T steps; None where there are none."""
        if self.differential:
            return tuple(1 / t if t else 0.0 for t in range(self.first, self.first + T))
        return None if self.leak == 1 else (self.leak - 1,) * T

    def fixed_gains(self, T: int) -> tuple[int, ...] | None:
        """The same as multiples of 2^-15."""
        gains = self.gains(T)
        return None if gains is None else tuple(round(gain * 2**GAIN_BITS) for gain in gains)

    def caps(self, T: int) -> tuple[int, ...] | None:
        """Of what is emitted in sum, at each of the next T steps; None where there are none."""
        if self.most is None:
            return None
        steps = range(self.first + 1, self.first + T + 1)
        return tuple(min(t, self.most) if self.by_step else self.most for t in steps)

    @property
    def code(self) -> str:
        """As the argument `reset` of operators: "soft", "hard", or all of the rules.

        Raises TypeError for neurons that operators cannot run.
        """
        if not self.kernels:
            raise TypeError("these operators cannot run neurons with a step of their own: see fastsnn.neurons")
        if self.plain:
            return self.reset
        words = [self.reset, *(f"{amplitude:+d}@{level}" for amplitude, level in self.planes)]
        words += [name for name in ("single", "below", "by_step", "differential") if getattr(self, name)]
        words += [] if self.most is None else [f"most={self.most}"]
        words += [] if self.leak == 1 else [f"leak={self.leak!r}"]
        words += [f"first={self.first}"] if self.first else []
        return " ".join(words)


@lru_cache(maxsize=256)
def firing_of(code: str) -> Firing:
    """The rules that a code stands for. Raises ValueError for anything that `Firing.code` does not give."""
    reset, *words = code.split(" ") if code not in RESETS else [code]
    if not words and reset not in RESETS:
        raise ValueError(f"reset must be one of {RESETS}, got {code!r}")
    planes, flags, numbers = [], {}, {}
    try:
        for word in words:
            name, equals, value = word.partition("=")
            if word[:1] in "+-" and "@" in word:
                amplitude, _, level = word.partition("@")
                planes.append(Plane(int(amplitude), int(level)))
            elif equals and name in ("most", "first"):
                numbers[name] = int(value)
            elif equals and name == "leak":
                numbers[name] = float(value)  # type: ignore[assignment]
            elif word in ("single", "below", "by_step", "differential"):
                flags[word] = True
            else:
                raise ValueError(f"{word!r} is no part of one")
        return Firing(reset, tuple(planes) or Firing().planes, **flags, **numbers)  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"reset must be one of {RESETS}, or the code of a neuron, got {code!r}: {error}") from error


def levels(most: int) -> tuple[Plane, ...]:
    """Planes of clip(floor(V / theta), 0, most) spikes a step: as many as most has binary digits.

    Tried from the largest on, each half of what is left, rounded up, they give every whole number up to `most`.
    """
    found = []
    while most > 0:
        found.append((most + 1) // 2)
        most //= 2
    return tuple(Plane(amplitude, QUARTERS * amplitude) for amplitude in found)


def taken_back(most: int, early: bool) -> tuple[Plane, ...]:
    """Planes of up to `most` negative spikes a step, of those emitted before.

    early  True: as many as bring V to 0 or above, of neurons `below` (fire where V < 0);
           False: of whole thresholds that V is below 0, at -theta first
    """
    found = (plane.amplitude for plane in levels(most))
    return tuple(Plane(-amplitude, QUARTERS * (amplitude - 1 if early else amplitude)) for amplitude in found)


def powers(n: int, share: float) -> tuple[Plane, ...]:
    """Planes of amplitudes 2^(n-1) .. 1, and then of minus those, that fire at `share` of their amplitude.

    share  0.75 in DCGS; a multiple of 1/4
    """
    amplitudes = [2**k for k in reversed(range(n))]
    found = [Plane(amplitude, round(QUARTERS * share * amplitude)) for amplitude in amplitudes]
    return (*found, *(Plane(-amplitude, level) for amplitude, level in found))
