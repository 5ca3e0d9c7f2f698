"""PASCAL: neurons that accumulate all of their input, correct their count, and emit it again in order."""

from fastsnn.methods.card import Card
from fastsnn.methods.parallel import Parallel


class PASCAL(Parallel):
    """Neurons that run T steps as IF, then T - 1 more without input in which spikes are added or taken back while V is
    at theta or above, or below 0, and then emit the count that is left, all spikes first.

    What is emitted is clip(floor((V(0) + sum I) / theta), 0, T), as by `parallel`, and is computed so; what differs is
    how many steps that takes. The levels of each layer, which the source finds in training, are T here.

    threshold, per_channel, initial_potential, seed   as in OPI

    Source: PASCAL (2025); the number of correction steps as its summary has it.
    """

    name = "pascal"
    card = Card(
        title="accumulate, correct the count, emit it in order: the quantised network",
        source="PASCAL 2025",
        state="v, count",
        causal=False,
        latency="T + (T - 1) L",
        verified="the steps as written equal to the quantised network in every count (tests)",
    )
