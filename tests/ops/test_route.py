"""Movement in the native module: torch's own indexing, whether runs or single elements are copied."""

import pytest
import torch

from fastsnn import _native
from fastsnn.ops._route import Route

pytestmark = pytest.mark.skipif(_native.reason() is not None, reason=str(_native.reason()))


def moved(index, sources):
    """The definition."""
    flat = torch.cat([s.flatten(1) for s in sources], 1)
    return torch.where(index < 0, 0, flat[:, index.clamp(min=0).flatten()].unflatten(1, index.shape))


def numbers(dtype, *shape):
    generator = torch.Generator().manual_seed(len(shape))
    return torch.randint(-100, 100, shape, generator=generator).to(dtype)


def routed(index, sizes, sources):
    out = torch.full((len(sources[0]), *index.shape), 7, dtype=sources[0].dtype)
    return Route(index, sizes)(sources, out)


def drawn(kind, sizes):
    generator, size = torch.Generator().manual_seed(7), sum(sizes)
    if kind == "elements":
        return torch.randint(-1, size, (13, 9), generator=generator)
    if kind == "transposed":
        return torch.arange(size).reshape(-1, 4).T.contiguous()
    # runs of eight, among zeros
    starts = torch.randint(0, size - 8, (12,), generator=generator)
    index = starts[:, None] + torch.arange(8)
    index[::3] = -1
    return index


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.float64])
@pytest.mark.parametrize("sizes", [[40], [24, 4, 40]])
@pytest.mark.parametrize("kind", ["elements", "transposed", "runs"])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_it_is_indexing(kind, sizes, dtype, batch):
    index = drawn(kind, sizes)
    sources = [numbers(dtype, batch, n) for n in sizes]
    assert torch.equal(routed(index, sizes, sources), moved(index, sources))


def test_threads_share_it():
    index, threads = torch.randperm(50000).reshape(500, 100), torch.get_num_threads()
    x = numbers(torch.int32, 3, 50000)
    try:
        torch.set_num_threads(2)
        assert torch.equal(routed(index, [50000], [x]), moved(index, [x]))
    finally:
        torch.set_num_threads(threads)


def test_more_sources_than_numbers_have_room_for():
    sizes = [4] * 9
    index, sources = torch.arange(36).reshape(9, 4).T.contiguous(), [numbers(torch.int16, 2, n) for n in sizes]
    assert torch.equal(routed(index, sizes, sources), moved(index, sources))


def test_a_difference_shows():
    index, x = torch.tensor([3, 1, -1]), numbers(torch.int32, 1, 4) + 200
    assert not torch.equal(routed(index, [4], [x]), moved(index - 1, [x]))
