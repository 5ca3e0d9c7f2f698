"""How large the tiles of a layer on a GPU are: what there is to choose from, and what is usual."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tile:
    """rows (positions x steps), N (output channels), K (summed numbers) of a tile; warps; stages; parts of a sum."""

    rows: int
    N: int
    K: int
    warps: int
    stages: int = 3
    parts: int = 1

    @property
    def registers(self) -> int | None:
        """Most registers a thread may have: half of a multiprocessor's, where a tile is small enough for that."""
        return 65536 // (2 * 32 * self.warps) if self.rows * self.N <= 128 * 128 and self.warps == 8 else None

    def __str__(self) -> str:
        parts = f", sum in {self.parts} parts" if self.parts > 1 else ""
        return f"tiles {self.rows}x{self.N}x{self.K}{parts}"


@dataclass(frozen=True)
class Problem:
    """What decides a tile.

    rows     of the matrix product: positions times steps
    outputs  of a group;  groups  their number
    length   numbers that a sum has, each of `bits` bits
    steps    rounded up to a power of two
    whole    the sum cannot be taken in parts
    """

    rows: int
    outputs: int
    groups: int
    length: int
    bits: int
    steps: int
    whole: bool = False


def power(n: int) -> int:
    """The smallest power of two that is not below n."""
    return 1 << max(n - 1, 0).bit_length()


def usual(problem: Problem, processors: int) -> Tile:
    """The tile that is taken where nothing was measured, on a GPU of that many multiprocessors."""
    least, most = (32, 128) if problem.bits == 8 else (16, 64)
    rows = min(max(power(problem.rows), 16, problem.steps), 128)
    N = min(max(power(problem.outputs), 16), 128)
    K = min(max(power(problem.length), least), most)
    if tiles(problem, rows, N) < processors:
        # few tiles: smaller ones, so that more of the chip has work
        rows, N = min(rows, max(64, problem.steps)), min(N, 64)
    parts = 1
    slices = -(-problem.length // K)
    while not problem.whole and tiles(problem, rows, N) * parts * 2 <= processors and slices >= 16 * parts:
        parts *= 2
    return Tile(rows, N, K, 8 if rows * N > 64 * 128 else 4, parts=parts)


def choices(problem: Problem, processors: int) -> tuple[Tile, ...]:
    """The usual tile, and others that are worth measuring."""
    first = usual(problem, processors)
    least, most = (32, 128) if problem.bits == 8 else (16, 64)
    found = [first]
    for rows in (64, 128, 256):
        for N in (32, 64, 128, 256):
            if rows < problem.steps or rows * N > 256 * 128 or N > power(max(problem.outputs, 16)):
                continue
            for K in {most, 2 * most}:
                if K <= max(power(problem.length), least):
                    found.append(Tile(rows, N, K, 8 if rows * N > 64 * 128 else 4))
    slices = -(-problem.length // most)
    for parts in () if problem.whole else (2, 4, 8):
        if tiles(problem, 64, 64) * parts <= 4 * processors and slices >= 4 * parts and problem.steps <= 64:
            found.append(Tile(64, 64, most, 4, parts=parts))
    return tuple(dict.fromkeys(found))


def tiles(problem: Problem, rows: int, N: int) -> int:
    return -(-problem.rows // rows) * -(-problem.outputs // N) * problem.groups
