"""The demo's images and network: scikit-learn's handwritten digits and a small residual network for them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from fastsnn._extras import need

BATCH = 64
PEAK_RATE = 0.01


class DigitsNet(nn.Module):
    """Four convolutions with batch norm and ReLU, one residual add, average pooling, one linear layer."""

    def __init__(self, width: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(1, width)
        self.conv2, self.bn2 = _conv(width, 2 * width)
        self.conv3, self.bn3 = _conv(2 * width, 2 * width)
        self.conv4, self.bn4 = _conv(2 * width, 2 * width)
        self.relu = nn.ReLU()
        self.pool = nn.AvgPool2d(2)
        self.linear = nn.Linear(2 * width * 4, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 1, 8, 8] in [0, 1] -> logits [B, classes]."""
        x = self.pool(self.relu(self.bn1(self.conv1(x))))
        x = self.relu(self.bn2(self.conv2(x)))
        branch = self.bn4(self.conv4(self.relu(self.bn3(self.conv3(x)))))
        x = self.pool(self.relu(x + branch))
        return self.linear(x.flatten(1))


def load(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Train images [1347, 1, 8, 8] in [0, 1], train labels, test images [450, 1, 8, 8], test labels."""
    datasets = need("sklearn.datasets", "the demo's handwritten digits")
    split = need("sklearn.model_selection", "the demo's handwritten digits").train_test_split
    digits = datasets.load_digits()
    parts = split(digits.images, digits.target, test_size=0.25, random_state=seed, stratify=digits.target)
    train, test, train_labels, test_labels = map(torch.from_numpy, parts)
    return train.float()[:, None] / 16, train_labels, test.float()[:, None] / 16, test_labels


def train(images: Tensor, labels: Tensor, epochs: int, seed: int, step: Callable[[float], None]) -> DigitsNet:
    """A trained DigitsNet in eval mode; `step` is called with the mean loss after each epoch.

    The caller's random state and number of threads are left as they were.
    """
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(seed)
        net = DigitsNet()
        optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.01)
        batches = -(-len(images) // BATCH)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=epochs * batches)
        for _ in range(epochs):
            total = 0.0
            for pick in torch.randperm(len(images)).split(BATCH):
                loss = cross_entropy(net(_shifted(images[pick])), labels[pick])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                rate.step()
                total += loss.item() * len(pick)
            step(total / len(images))
    return net.eval()


@contextmanager
def one_thread() -> Iterator[None]:
    """Tensors this small gain nothing from threads, and sums then come out alike for any number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _shifted(images: Tensor) -> Tensor:
    """Each image moved by up to one pixel each way: 1347 of them are few."""
    down, right = torch.randint(0, 3, (2, len(images), 1))
    rows, columns = torch.arange(8) + down, torch.arange(8) + right
    which = torch.arange(len(images))[:, None, None]
    return pad(images, (1, 1, 1, 1))[which, 0, rows[:, :, None], columns[:, None, :]][:, None]


def _conv(channels: int, out: int) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    return nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out)
