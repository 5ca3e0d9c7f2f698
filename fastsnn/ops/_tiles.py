"""How large the tiles of a layer on a GPU are: what there is to choose from, and what is usual."""

from dataclasses import dataclass, replace

# rows and channels of tiles that are measured: with fewer, weights are read more often; with more, fewer blocks fit
SIZES = ((128, 128), (256, 128), (128, 256), (256, 64), (128, 64), (64, 128), (64, 64))

# slices from which on it pays to make them divide the channels
EVEN = 32


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
        return f"tiles {self.rows}x{self.N}x{self.K} in {self.stages} stages{parts}"


@dataclass(frozen=True)
class Problem:
    """What decides a tile.

    rows      of the matrix product: positions times steps
    outputs   of a group;  groups  their number
    length    numbers that a sum has, each of `bits` bits
    steps     rounded up to a power of two
    whole     the sum cannot be taken in parts
    channels  numbers of one tap that follow each other: slices of the sum that divide them are read without waste
    """

    rows: int
    outputs: int
    groups: int
    length: int
    bits: int
    steps: int
    whole: bool = False
    channels: int = 1


def power(n: int) -> int:
    """The smallest power of two that is not below n."""
    return 1 << max(n - 1, 0).bit_length()


def usual(problem: Problem, processors: int) -> Tile:
    """The tile that is taken where nothing was measured, on a GPU of that many multiprocessors."""
    least, most = (32, 128) if problem.bits == 8 else (16, 64)
    rows = min(max(power(problem.rows), 16, problem.steps), 128)
    N = min(max(power(problem.outputs), 16), 128)
    K = min(max(power(problem.length), least), most)
    whole = problem.channels & -problem.channels
    if EVEN <= whole < K:
        K = whole
    if tiles(problem, rows, N) < processors:
        # few tiles: smaller ones, so that more of the chip has work
        rows, N = min(rows, max(64, problem.steps)), min(N, 64)
    parts = 1
    slices = -(-problem.length // K)
    while not problem.whole and tiles(problem, rows, N) * parts * 2 <= processors and slices >= 16 * parts:
        parts *= 2
    return Tile(rows, N, K, 8 if rows * N > 64 * 128 else 4, parts=parts)


def choices(problem: Problem, processors: int, memory: int) -> tuple[Tile, ...]:
    """The usual tile, and others that are worth measuring, on multiprocessors that give a block so many bytes."""
    K = usual(problem, processors).K
    found = [usual(problem, processors)]
    for rows, N in SIZES:
        if rows >= problem.steps and N <= power(max(problem.outputs, 16)):
            found.append(Tile(rows, N, K, 8 if rows * N > 64 * 128 else 4))
    found.append(replace(found[0], stages=4))
    slices = -(-problem.length // K)
    for parts in () if problem.whole else (2, 4, 8):
        if tiles(problem, 64, 64) * parts <= 4 * processors and slices >= 4 * parts and problem.steps <= 64:
            found.append(Tile(64, 64, K, 4, parts=parts))
    return tuple(tile for tile in dict.fromkeys(found) if shared(problem, tile) <= memory)


def shared(problem: Problem, tile: Tile) -> int:
    """Bytes of shared memory that a tile takes at most: words and weights of all stages, or sums on their way out."""
    words = max(tile.rows // problem.steps, 1) * tile.K * 4
    weights = tile.N * tile.K * problem.bits // 8
    return max(tile.stages * (words + weights), tile.rows * tile.N * 4)


def tiles(problem: Problem, rows: int, N: int) -> int:
    return -(-problem.rows // rows) * -(-problem.outputs // N) * problem.groups
