"""A real ResNet-20 without retraining: what methods reach, and what the profile counts of it."""

import sys
from pathlib import Path

import pytest
import torch

import fastsnn
from fastsnn import data as datasets
from fastsnn.profile.converted import Converted
from fastsnn.weights import load_into

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
from cifar10_resnet20 import IMAGES, PREPARE, WEIGHTS, resnet20

pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.fixture(scope="module")
def model(data):
    return load_into(resnet20(), data / WEIGHTS).eval()


@pytest.fixture(scope="module")
def calibration(data):
    return datasets.calibration_images(data / IMAGES, 512, PREPARE)[0]


def test_eight_binary_steps_are_nearly_the_dense_network(data, model, calibration):
    batches = datasets.batches(datasets.load(data / IMAGES, "test", PREPARE), 100)
    snn = fastsnn.convert(model, calibration, method="parallel", timesteps=8)
    # 90.2 % of 500 images were right where this was measured, 91.0 % of the dense network; one standard error is 1.3
    assert snn.accuracy_over_time(batches, progress=False)[-1] > 0.88


def test_multiplications_are_the_published_count(model, calibration):
    snn = fastsnn.convert(model, calibration[:64], timesteps=4)
    facts = Converted(snn, 4).facts
    # He et al. 2016: 40.55 million, borders included
    assert sum(layer.dense_macs_with_borders for layer in facts) == 40_551_040
    with torch.inference_mode():
        observed, _ = Converted(snn, 4).observe(calibration[:8])
    additions = sum(int(by_step.sum()) for by_step in observed.additions.values())
    assert 0 < additions < 8 * 4 * sum(layer.dense_macs for layer in facts)
