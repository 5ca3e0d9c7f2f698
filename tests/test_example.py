"""Whether the example's network takes the real weights, and prints its table."""

import importlib.util
from pathlib import Path

import pytest
import torch

from fastsnn import _env
from fastsnn.weights import load_into

ROOT = Path(__file__).parents[1]
FOLDER = Path(_env.DATA) if _env.DATA else ROOT.parent / "shared" / "data"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("cifar10_resnet20", ROOT / "examples" / "cifar10_resnet20.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(example):
    absent = [name for name in (example.WEIGHTS, example.IMAGES) if not (FOLDER / name).is_file()]
    if absent:
        pytest.skip(f"{FOLDER} does not hold {' and '.join(absent)}; FASTSNN_DATA names the folder")
    return FOLDER


def test_resnet20_has_the_published_size(example):
    net = example.resnet20()
    # He et al. 2016, table 6: 0.27 million.
    assert sum(p.numel() for p in net.parameters()) == 269_722
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_absent_data_is_said_in_one_line(example, tmp_path, capsys):
    assert example.main(["--data", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "should hold resnet20-cifar10.th and cifar10-lossless.npz: give --data or set FASTSNN_DATA" in err


@pytest.mark.data
def test_dense_accuracy_is_the_published_one(example, folder):
    images = example.data.load(folder / example.IMAGES, "test", example.PREPARE)
    model = load_into(example.resnet20(), folder / example.WEIGHTS).eval()
    dense, count = example.dense_accuracy(model, example.data.batches(images, 100, first=400))
    assert count == 400 and dense == 0.9125


@pytest.mark.data
def test_table(example, folder, capsys):
    argv = ["--data", str(folder), "--images", "4", "--calibration-images", "4", "--timesteps", "4"]
    assert example.main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {name: line for line in lines for name in [*example.ROWS, *example.SPIKINGJELLY, "dense"] if name in line}
    assert len(rows) == 6 and "4 CIFAR-10 test images" in lines[0]
    assert "12.0" in rows["SpikingJelly 2.0.0, V(0) = 0"] and "32.0" in rows["SpikingJelly 2.0.0, V(0) = theta/2"]


@pytest.mark.data
@pytest.mark.slow
def test_the_real_network_keeps_its_accuracy(example, folder):
    model = load_into(example.resnet20(), folder / example.WEIGHTS).eval()
    calibration, _ = example.data.calibration_images(folder / example.IMAGES, 512, example.PREPARE)
    batches = example.data.batches(example.data.load(folder / example.IMAGES, "test", example.PREPARE), 200, first=400)

    def percent(threshold):
        snn = example.fastsnn.convert(model, calibration, timesteps=16, threshold=threshold, precision="float32")
        return 100 * snn.accuracy_over_time(batches, progress=False)[15].item()

    usual, least_squares = percent("percentile:99.9"), percent("mse")
    # 1.5 points from SpikingJelly's figure, and two of 400 images that another processor's rounding may move
    assert abs(usual - example.SPIKINGJELLY["SpikingJelly 2.0.0, V(0) = theta/2"][16]) <= 1.5 + 0.5
    assert least_squares > usual
