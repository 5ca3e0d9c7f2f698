"""What makes captures in tests fast changes nothing that is captured, and leaves PyTorch as it was."""

import exporting
import pytest
import torch
from torch import nn
from torch.export import exported_program

from fastsnn.convert.trace import traced

MODEL = nn.Sequential(
    nn.Conv2d(2, 4, 3, padding="same"), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(), nn.AvgPool2d(2),
    nn.Upsample(scale_factor=2, mode="nearest"), nn.Flatten(), nn.LayerNorm(64), nn.Linear(64, 3),
).eval()  # fmt: skip


def registered() -> dict:
    return {op: dict(op.py_kernels) for op in exported_program._collect_all_valid_cia_ops()}


def captured() -> str:
    return str(traced(MODEL, torch.zeros(2, 2, 4, 4)))


@pytest.mark.skipif(
    not all(hasattr(exported_program, name) for name in exporting.PREPARES), reason="this PyTorch prepares otherwise"
)
def test_a_capture_is_what_it_is_without_it(monkeypatch):
    captured()
    before = registered()
    quick = [captured() for _ in range(3)]
    assert registered() == before
    for name in exporting.PREPARES:
        monkeypatch.setattr(exported_program, name, getattr(exported_program, name).__wrapped__)
    assert quick == [captured()] * 3 and registered() == before


def test_an_operator_that_is_registered_later_is_captured():
    captured()

    @torch.library.custom_op("exporting::double", mutates_args=())
    def double(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    double.register_fake(torch.empty_like)

    class Doubles(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return double(x).relu()

    program = traced(Doubles(), torch.ones(2, 3))
    assert "exporting.double" in str(program.graph) and torch.equal(
        program.module()(torch.ones(2, 3)), 2 * torch.ones(2, 3)
    )


def test_a_capture_that_fails_leaves_everything_as_it_was():
    class Fails(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    first, before = captured(), registered()
    with pytest.raises(Exception, match="cannot be traced"):
        traced(Fails(), torch.ones(2, 3))
    assert registered() == before and captured() == first
