"""How many times faster than its peers fastsnn is, case by case."""

from collections.abc import Iterable, Sequence

from rows import Row

from peers.opponents import SPIKING

Case = tuple[str, int, int]


def key(row: Row) -> Case:
    """(network, T, batch)."""
    return row["network"], row["T"], row["batch"]


def cases(rows: Sequence[Row]) -> list[Case]:
    """Cases in the order in which their networks came, the largest T first."""
    order = list(dict.fromkeys(row["network"] for row in rows))
    return sorted({key(row) for row in rows}, key=lambda case: (order.index(case[0]), -case[1], case[2]))


def best(group: Iterable[Row]) -> Row | None:
    """The fastest of the spiking peers: the one that fastsnn is least ahead of."""
    spiking = [row for row in group if row["opponent"] in SPIKING]
    return min(spiking, key=lambda row: next(iter(row["speedup"].values())), default=None)


def ahead(rows: Sequence[Row]) -> dict[Case, dict[str, float]]:
    """Times faster than the fastest peer, by precision, of every case that has one with a time."""
    timed = [row for row in rows if "opponent_ms" in row]
    firsts = {case: best(row for row in timed if key(row) == case) for case in cases(timed)}
    return {case: row["speedup"] for case, row in firsts.items() if row is not None}
