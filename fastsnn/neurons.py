"""What a neuron is: the rules of its step, apart from its numbers (threshold, initial potential, bias)."""

from dataclasses import dataclass

RESETS = ("soft", "hard")
COMPARATORS = (">=", ">")


@dataclass(frozen=True)
class IF:
    """Integrate-and-fire without leak.

        V += I[t];   s[t] = V >= threshold;   V -= s[t] * threshold (soft)   or   V = 0 where s[t] (hard)

    reset       "soft" (by subtraction: the conversion literature's choice, it loses no charge) or "hard" (to zero)
    comparator  ">=" (OPI, QCFS, SRP, COS) or ">" (inference-scale conversion)
    sorts       not causal: all steps are known before the first spike, and the spikes that the whole input allows, no
                more and no fewer, come first: see `fastsnn.ordered`. Needs soft reset and ">="
    """

    reset: str = "soft"
    comparator: str = ">="
    sorts: bool = False

    def __post_init__(self) -> None:
        if self.reset not in RESETS:
            raise ValueError(f"IF: reset must be one of {RESETS}, got {self.reset!r}")
        if self.comparator not in COMPARATORS:
            raise ValueError(f"IF: comparator must be one of {COMPARATORS}, got {self.comparator!r}")
        if self.sorts and (self.reset, self.comparator) != ("soft", ">="):
            raise ValueError(
                f'IF: sorts needs reset "soft" and comparator ">=", got {self.reset!r}, {self.comparator!r}'
            )
