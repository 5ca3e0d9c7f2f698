"""What became of the modules of somebody's spiking network, and of its layers."""

from dataclasses import dataclass

from fastsnn.convert.report import Report, lined


@dataclass(frozen=True)
class Row:
    """A module of the network: its path, its class, what became of it, and why where it stayed."""

    module: str
    kind: str
    became: str
    why: str = ""


@dataclass(frozen=True)
class FuseReport:
    """One row for each module that spikes or stayed, and the layers of each part that was fused; str() is a table."""

    title: str
    rows: tuple[Row, ...]
    layers: tuple[Report, ...]

    @property
    def stayed(self) -> tuple[Row, ...]:
        """The modules that run as they are."""
        return tuple(row for row in self.rows if row.became != FUSED)

    def __str__(self) -> str:
        rows = [(r.module or "(itself)", r.kind, r.became, r.why) for r in self.rows]
        table = lined(self.title, ("module", "class", "became", "why"), rows)
        return "\n".join([table, *(f"\n{report}" for report in self.layers)])


FUSED, STAYED = "fused", "stays"
