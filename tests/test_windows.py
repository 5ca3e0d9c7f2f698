"""Which positions a pooling window covers, against torch's own poolings."""

from itertools import product

import pytest
import torch
from torch.nn import functional as F

from fastsnn.windows import output_size, window_index

# size, kernel, stride, padding, dilation, ceil_mode: what torch accepts
GRID = [
    (n, k, s, p, d, ceil)
    for n, k, s, p, d, ceil in product(range(1, 10), (1, 2, 3, 4), (1, 2, 3), (0, 1, 2), (1, 2, 3), (False, True))
    if 2 * p <= k
]


def torch_size(n, k, s, p, d, ceil):
    """What torch's max pooling gives, or 0 where it refuses."""
    try:
        return F.max_pool1d(torch.zeros(1, 1, n), k, s, p, d, ceil).shape[-1]
    except RuntimeError:
        return 0


def test_sizes_are_those_of_max_pooling():
    wrong = [(g, output_size(*g), torch_size(*g)) for g in GRID if max(output_size(*g), 0) != torch_size(*g)]
    assert not wrong
    assert sum(torch_size(*g) == 0 for g in GRID) > 10


def test_sizes_are_those_of_average_pooling():
    for n, k, s, p, d, ceil in GRID:
        if d == 1 and torch_size(n, k, s, p, d, ceil):
            assert output_size(n, k, s, p, d, ceil) == F.avg_pool1d(torch.zeros(1, 1, n), k, s, p, ceil).shape[-1]


@pytest.mark.parametrize("g", [g for g in GRID if torch_size(*g) == 0][::9], ids=str)
def test_a_window_that_does_not_fit_is_refused(g):
    n, k, s, p, d, ceil = g
    with pytest.raises(ValueError, match=rf"pooling of kernel \[{k}\] leaves nothing of an input of size \[{n}\]"):
        window_index([n], [k], [s], [p], [d], ceil)


def pooled(x, *geometry):
    """Max and sum over each window of [C, *S], by index."""
    index, out = window_index(x.shape[1:], *geometry)
    flat, inside = x.flatten(1), index >= 0
    assert index.dtype == torch.int64 and index.shape[0] == torch.Size(out).numel()
    members = torch.where(inside, flat[:, index.clamp(min=0)], float("-inf"))
    return members.amax(-1).unflatten(1, out), torch.where(inside, members, 0).sum(-1).unflatten(1, out)


GEOMETRIES = [
    ([6, 4], [2, 2], [2, 2], [0, 0], [1, 1], False),
    ([7, 9], [3, 3], [2, 2], [1, 1], [1, 1], False),
    ([7, 9], [3, 2], [2, 3], [1, 0], [1, 1], True),
    ([8, 5], [3, 2], [2, 2], [0, 1], [1, 1], True),
    ([9, 7], [3, 2], [1, 2], [1, 1], [2, 3], False),
    ([5, 1], [4, 1], [3, 2], [2, 0], [1, 1], True),
]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_pooling_by_index_is_pooling(geometry):
    sizes, kernel, stride, padding, dilation, ceil = geometry
    # shuffled whole numbers: no two inputs are equal, and sums are exact
    x = torch.randperm(3 * sizes[0] * sizes[1]).double().reshape(3, *sizes) - 20
    most, total = pooled(x, *geometry[1:])
    assert torch.equal(most, F.max_pool2d(x, kernel, stride, padding, dilation, ceil))
    if dilation == [1, 1]:
        assert torch.equal(total, F.avg_pool2d(x[None], kernel, stride, padding, ceil, divisor_override=1)[0])


def test_one_and_three_dimensions():
    line, block = torch.randperm(2 * 63).double().reshape(2, 63), torch.randperm(3 * 60).double().reshape(3, 3, 4, 5)
    assert torch.equal(pooled(line, [3], [2], [1], [1])[0], F.max_pool1d(line, 3, 2, 1))
    geometry = [2, 2, 3], [1, 2, 2], [0, 1, 1], [1, 1, 1], True
    assert torch.equal(pooled(block, *geometry)[0], F.max_pool3d(block, *geometry))


def test_hand_example():
    # windows of two, two apart, one position beside either end: (-, 0), (1, 2)
    index, out = window_index([3], [2], [2], [1], [1])
    assert index.tolist() == [[-1, 0], [1, 2]] and out == (2,)
    # rows of three: the window's rows one after the other
    index, out = window_index([2, 3], [2, 2], [1, 1], [0, 0], [1, 1])
    assert index.tolist() == [[0, 1, 3, 4], [1, 2, 4, 5]] and out == (1, 2)
