"""Whether images and labels are read, prepared and refused as fastsnn.data says."""

import pickle

import numpy as np
import pytest
import torch

from fastsnn import data
from fastsnn.data import Prepare

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (7, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(7) % 3


def npz(path, **arrays):
    np.savez(path / "d.npz", **arrays)
    return path / "d.npz"


def jpg_tree(root, classes=("cat", "dog"), each=3, size=(12, 10)):
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("torchvision")
    for c, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(each):
            pixels = np.full((*size, 3), 40 * c + i, dtype=np.uint8)
            image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def test_npz_uint8_becomes_channels_first_in_0_to_1(tmp_path):
    images = data.load(npz(tmp_path, images=BYTES, labels=LABELS))
    x, y = images[4]
    assert len(images) == 7 and y == 1 and x.dtype == torch.float32
    assert torch.equal(x, torch.from_numpy(BYTES[4]).permute(2, 0, 1).float() / 255)


def test_npz_grey_and_float_arrays(tmp_path):
    grey = data.load(npz(tmp_path, images=BYTES[..., 0], labels=LABELS[:, None]))
    assert grey[0][0].shape == (1, 6, 5)
    floats = BYTES.transpose(0, 3, 1, 2).astype(np.float64)
    plain = data.load(npz(tmp_path, images=floats, labels=LABELS))
    assert torch.equal(plain[2][0], torch.from_numpy(floats[2]).float())


def test_npz_splits_and_calibration_images(tmp_path):
    path = npz(tmp_path, train_images=BYTES[:5], train_labels=LABELS[:5], test_images=BYTES[5:], test_labels=LABELS[5:])
    assert (len(data.load(path, "train")), len(data.load(path, "test"))) == (5, 2)
    images, note = data.calibration_images(path, 3, seed=1)
    again, _ = data.calibration_images(path, 3, seed=1)
    other, _ = data.calibration_images(path, 3, seed=2)
    train = {tuple(x.flatten().tolist()) for x, _ in data.load(path, "train")}
    assert note is None and torch.equal(images, again) and not torch.equal(images, other)
    assert len({tuple(x.flatten().tolist()) for x in images} & train) == 3


def test_calibrating_on_the_test_images_is_said(tmp_path):
    images, note = data.calibration_images(npz(tmp_path, images=BYTES, labels=LABELS), 9)
    assert len(images) == 7
    assert "keeps no training images apart" in note and "has 7 images to calibrate on, not 9" in note


def test_folder_of_classes_and_folder_of_splits(tmp_path):
    jpg_tree(tmp_path / "flat")
    assert len(data.load(tmp_path / "flat")) == 6
    assert not data.has_split(tmp_path / "flat", "train")
    jpg_tree(tmp_path / "split" / "train", each=2)
    jpg_tree(tmp_path / "split" / "val", each=1)
    assert (len(data.load(tmp_path / "split", "train")), len(data.load(tmp_path / "split", "test"))) == (4, 2)
    # A class may be called "train".
    assert len(data.load(jpg_tree(tmp_path / "odd", ("bus", "train")))) == 6


def test_the_first_images_of_a_folder_are_of_all_classes(tmp_path):
    jpg_tree(jpg_tree(tmp_path / "flat", each=3), ("ant",), each=1)
    found = [(round(x[0, 0, 0].item() * 255), y) for x, y in data.load(tmp_path / "flat")]
    # jpg_tree paints class c, image i in 40 c + i
    assert found == [(0, 0), (0, 1), (40, 2), (1, 1), (41, 2), (2, 1), (42, 2)]


def test_prepare_normalises_and_resizes():
    image = torch.full((3, 12, 10), 51, dtype=torch.uint8)
    x = Prepare(mean=(0.0, 0.1, 0.2), std=(1.0, 0.5, 0.1))(image)
    assert torch.allclose(x[:, 3, 3], torch.tensor([0.2, 0.2, 0.0]), atol=1e-6)
    assert Prepare(image_size=8, resize=9)(image).shape == (3, 8, 8)
    ramp = torch.arange(12.0).repeat(1, 10, 1) / 12
    assert torch.equal(Prepare(image_size=10)(ramp), ramp[:, :, 1:11])


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(image_size=0), "image size must be at least 1 pixel, got 0"),
        (dict(resize=5), "needs an image size"),
        (dict(image_size=8, resize=5), "cannot be below it"),
        (dict(std=(1.0, 0.0, 1.0)), "std must be above 0"),
        (dict(mean=(1.0, 0.0)), "the images have 3 channels, got 2 numbers"),
    ],
)
def test_prepare_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        Prepare(**settings)(torch.zeros(3, 8, 8))


@pytest.mark.parametrize(
    "arrays, message",
    [
        (dict(images=BYTES), r"wanted images and labels, got images"),
        (dict(train_images=BYTES, train_labels=LABELS), "wanted test_images and test_labels"),
        (dict(images=BYTES, labels=LABELS[:3]), r"labels should be \[7\], one an image, got \(3,\)"),
        (dict(images=BYTES, labels=LABELS - 1), "labels should be 0 or more, got -1"),
        (dict(images=BYTES, labels=LABELS + 0.5), "labels should be whole numbers"),
        (dict(images=BYTES.transpose(0, 3, 1, 2), labels=LABELS), r"uint8 images should be .* got \(7, 3, 6, 5\)"),
        (dict(images=BYTES.astype(np.float32), labels=LABELS), r"channels first, got \(7, 6, 5, 3\)"),
        (dict(images=BYTES.astype(np.int32), labels=LABELS), "images should be uint8 or float, got int32"),
        (dict(images=np.full((2, 1, 4, 4), np.nan), labels=LABELS[:2]), "NaN or infinite"),
        (dict(images=BYTES[:0], labels=LABELS[:0]), "N >= 1"),
        (dict(images=np.array([{}, {}]), labels=LABELS[:2]), "cannot read images and labels"),
    ],
)
def test_npz_refuses(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message):
        data.load(npz(tmp_path, **arrays))


def test_other_files_and_missing_paths_are_refused(tmp_path):
    (tmp_path / "d.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"cifar100:ROOT, got the file .*d.txt"):
        data.load(tmp_path / "d.txt")
    (tmp_path / "d.npz").write_bytes(pickle.dumps([1]))
    with pytest.raises(ValueError, match=r"is not a .npz file"):
        data.load(tmp_path / "d.npz")
    with pytest.raises(FileNotFoundError, match=r"no such file or folder: .*absent"):
        data.load(tmp_path / "absent")
    with pytest.raises(ValueError, match='"train" or "test", got \'valid\''):
        data.load(tmp_path, "valid")


def test_folders_that_do_not_hold_images_are_refused(tmp_path):
    pytest.importorskip("torchvision")
    with pytest.raises(ValueError, match="should hold one folder of images a class"):
        data.load(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(ValueError, match=r"should hold one folder of images a class: .*cat"):
        data.load(tmp_path)
    (tmp_path / "cat" / "x.png").write_text("hello")
    with pytest.raises(ValueError, match=r"x.png is not a readable image"):
        data.load(tmp_path)[0]
    jpg_tree(tmp_path / "split" / "train")
    with pytest.raises(ValueError, match="holds train but no test or val folder"):
        data.load(tmp_path / "split")


def test_images_of_different_size_need_an_image_size(tmp_path):
    jpg_tree(tmp_path, ("a",), each=1, size=(12, 10))
    jpg_tree(tmp_path, ("b",), each=1, size=(10, 12))
    with pytest.raises(ValueError, match=r"images of a batch should have one size, got .* give an image size"):
        next(iter(data.batches(data.load(tmp_path), 2)))
    images, labels = next(iter(data.batches(data.load(tmp_path, prepare=Prepare(image_size=8)), 2)))
    assert images.shape == (2, 3, 8, 8) and labels.tolist() == [0, 1]


def test_batches_come_in_order_and_stop_at_the_first_few(tmp_path):
    images = data.load(npz(tmp_path, images=BYTES, labels=np.arange(7)))
    assert [y.tolist() for _, y in data.batches(images, 2, first=5)] == [[0, 1], [2, 3], [4]]
    assert len(data.batches(images, 3)) == 3
    with pytest.raises(ValueError, match="batch size should be at least 1, got 0"):
        data.batches(images, 0)


@pytest.mark.parametrize(
    "name, folder, labels, parts",
    [
        ("cifar10", "cifar-10-batches-py", "labels", [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]),
        ("cifar100", "cifar-100-python", "fine_labels", ["train", "test"]),
    ],
)
def test_named_data_sets(tmp_path, monkeypatch, name, folder, labels, parts):
    datasets = pytest.importorskip("torchvision.datasets")
    with pytest.raises(ValueError, match=f"{name} is not at .*nothing is downloaded"):
        data.load(f"{name}:{tmp_path}")
    monkeypatch.setattr(datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr(datasets.CIFAR10, "_load_meta", lambda self: None)
    (tmp_path / folder).mkdir()
    for part in parts:
        entry = {"data": np.full((2, 3072), 255, dtype=np.uint8), labels: [1, 2]}
        (tmp_path / folder / part).write_bytes(pickle.dumps(entry))
    test = data.load(f"{name}:{tmp_path}")
    assert len(test) == 2 and test[1][1] == 2 and torch.equal(test[0][0], torch.ones(3, 32, 32))
    assert data.has_split(f"{name}:{tmp_path}", "train")


def test_some_images_are_of_all_classes_and_the_same_for_a_seed():
    images = [(torch.tensor(float(i)), i // 50) for i in range(100)]
    found = [images for images, _ in data.some(images, 20, 3)]
    assert len({float(x) for x in found}) == 20 and 3 < sum(float(x) < 50 for x in found) < 17
    assert found == [images for images, _ in data.some(images, 20, 3)]
    assert found != [images for images, _ in data.some(images, 20, 4)]
    assert data.some(images, None) is images and data.some(images, 100) is images
