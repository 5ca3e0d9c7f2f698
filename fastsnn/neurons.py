"""What a neuron is: the rules of its step, apart from its numbers (threshold, initial potential, bias)."""

from dataclasses import dataclass

RESETS = ("soft", "hard")
COMPARATORS = (">=", ">")
EMISSIONS = ("causal", "ordered", "random", "offset")


@dataclass(frozen=True)
class IF:
    """Integrate-and-fire without leak.

        V += I[t];   s[t] = V >= threshold;   V -= s[t] * threshold (soft)   or   V = 0 where s[t] (hard)

    reset       "soft" (by subtraction: the conversion literature's choice, it loses no charge) or "hard" (to zero)
    comparator  ">=" (OPI, QCFS, SRP, COS) or ">" (inference-scale conversion)
    emission    when the spikes come: "causal", at the step that brings V to the threshold; or, of neurons that know
                all of their input first, "ordered" or "random", see `fastsnn.emission`, or "offset": run twice, see
                `fastsnn.offset`. These need soft reset and ">="
    seed        of random spikes
    probe       steps of the first run of "offset"
    """

    reset: str = "soft"
    comparator: str = ">="
    emission: str = "causal"
    seed: int = 0
    probe: int = 4

    def __post_init__(self) -> None:
        if self.reset not in RESETS:
            raise ValueError(f"IF: reset must be one of {RESETS}, got {self.reset!r}")
        if self.comparator not in COMPARATORS:
            raise ValueError(f"IF: comparator must be one of {COMPARATORS}, got {self.comparator!r}")
        if self.emission not in EMISSIONS:
            raise ValueError(f"IF: emission must be one of {EMISSIONS}, got {self.emission!r}")
        if self.waits and (self.reset, self.comparator) != ("soft", ">="):
            raise ValueError(
                f'IF: emission "{self.emission}" needs reset "soft" and comparator ">=", got {self.reset!r}, '
                f"{self.comparator!r}"
            )

    @property
    def waits(self) -> bool:
        """Whether it has to know all of its input before it fires."""
        return self.emission != "causal"
