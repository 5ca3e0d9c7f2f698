"""How a run goes through its steps and when the output is read: in chunks, after settling, leaving out the first."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor

from fastsnn.engine import Simulation
from fastsnn.spikes import MAX_STEPS, chunk_lengths

# steps that are read at least
LEAST = 4


@dataclass(frozen=True)
class Reading:
    """What of a run is output.

    settling   steps ahead of the run, after which neurons start again and those with nothing left are silenced: see
               `Simulation.settle`
    delay      first steps of the run that the output leaves out: see `Delayed`
    """

    settling: int = 0
    delay: int = 0


def begun(simulation: Simulation, reading: Reading) -> Simulation:
    """The run, after the steps of settling."""
    if reading.settling:
        for T in chunk_lengths(reading.settling, simulation.longest_chunk()):
            simulation.advance(T)
        simulation.settle()
    return simulation


def chunks(
    simulation: Simulation, steps: int, record: Iterable[str], over_time: bool, reading: Reading
) -> Iterator[tuple[int, dict[str, Tensor], list[Tensor]]]:
    """The chunks of a run that was begun, as `SpikingNetwork.chunks` gives them.

    Raises ValueError where neurons need all steps at once and these do not fit in one chunk.
    """
    longest = simulation.longest_chunk()
    lengths, late = chunk_lengths(steps, longest), Delayed(reading.delay)
    if simulation.prepared.waits and len(lengths) > 1:
        way = f"run at most {MAX_STEPS} steps" if steps > MAX_STEPS else "run fewer images at a time"
        raise ValueError(f"these neurons need all {steps} steps at once, and {longest} fit: {way}")
    for i, T in enumerate(lengths):
        words, outputs = simulation.advance(T, record, over_time, last=i == len(lengths) - 1)
        yield T, words, late(outputs) if over_time and reading.delay else outputs


class Delayed:
    """Means over the steps after the first `delay`, from means over all steps so far.

    At step t the steps from s + 1 to t are read, s = min(delay, max(t - LEAST, 0)). Exact for outputs that are affine
    in the spikes: t mean(1..t) - s mean(1..s) is the sum over what lies between.

    Source: Bu, Li, Yu, CVPR 2025 (arXiv 2409.03368), delayed evaluation.
    """

    def __init__(self, delay: int) -> None:
        self.delay, self.done = delay, 0
        # of each output: its sum up to step s, for all s that are still needed
        self._sums: list[list[Tensor]] = []

    def __call__(self, outputs: list[Tensor]) -> list[Tensor]:
        """The next steps: means [T, B, ...] over all steps so far -> over those that are read."""
        self._sums = self._sums or [[out.new_zeros(out.shape[1:])] for out in outputs]
        results = [out.clone() for out in outputs]
        for i in range(len(outputs[0])):
            t = self.done + i + 1
            s = min(self.delay, max(t - LEAST, 0))
            for out, sums, result in zip(outputs, self._sums, results, strict=True):
                if len(sums) <= self.delay:
                    sums.append(out[i] * t)
                if s:
                    result[i] = (out[i] * t - sums[s]) / (t - s)
        self.done += len(outputs[0])
        return results
