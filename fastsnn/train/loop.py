"""The loop of training: epochs, what each measures, and a checkpoint after each that a later run goes on from."""

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from fastsnn import data
from fastsnn._files import write_text
from fastsnn.data.prepare import Images
from fastsnn.distributed import Group
from fastsnn.errors import FastSNNError, ProcessError
from fastsnn.train import checkpoint
from fastsnn.train.activation import activations
from fastsnn.train.images import Order, loader, seed_of
from fastsnn.train.metrics import lines
from fastsnn.train.prepare import parameter_groups
from fastsnn.train.recipe import Recipe
from fastsnn.train.residual import measure

CHECKPOINT, METRICS = "checkpoint.pt", "metrics.jsonl"
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class How:
    """What a training's result should depend on by rounding alone, and how much is shown.

    device     where the network is trained
    precision  of forward passes while training: "float32", "bfloat16" (weights stay float32, as the test is), or None:
               bfloat16 on a GPU, float32 on a CPU
    workers    processes that load images; 0: this one
    compile    whether the network runs through torch.compile
    progress   whether a line is printed after each epoch, and a bar drawn where stderr is a terminal

    Raises ValueError for another precision.
    """

    device: torch.device | str = "cpu"
    precision: str | None = None
    workers: int = 0
    compile: bool = False
    progress: bool = False

    def __post_init__(self) -> None:
        if self.precision not in (None, *PRECISIONS):
            raise ValueError(f"training: precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")

    @property
    def precision_used(self) -> str:
        """What None stands for, where it is given."""
        return self.precision or ("bfloat16" if torch.device(self.device).type == "cuda" else "float32")


class Training:
    """A network that is being trained, in one process or in each of several.

    model    prepared, on the CPU; it is trained in place, and moved
    images   to train on and to test on, float32 [C, H, W] with labels; the former drawn anew each time
    classes  how many of them there are
    folder   where the first process writes `checkpoint.pt` and `metrics.jsonl` after each epoch
    about    what the training is, plain values: a checkpoint of another one is refused

    Random numbers are seeded anew for each epoch and image, so that a resumed run gives the same weights as one that
    was not interrupted, to the last bit on a CPU with the same number of threads and processes.
    Raises ValueError where the network has no bounds, or the images do not fit it.
    """

    def __init__(
        self,
        model: nn.Module,
        images: tuple[Images, Images],
        classes: int,
        recipe: Recipe,
        folder: Path,
        about: dict[str, Any],
        seed: int = 0,
        how: How | None = None,
        group: Group | None = None,
    ) -> None:
        self.recipe, self.folder, self.about, self.seed = recipe, folder, about, seed
        self.how, self.group = how or How(), group or Group()
        self.device = torch.device(self.how.device)
        train, test = images
        rank, size = self.group.rank, self.group.size
        self.order = Order(len(train), recipe.batch_size, seed, rank, size)
        self.batches = loader(train, self.order, self.how.workers, self.device.type == "cuda")
        self.tests = data.batches(test, recipe.batch_size, None, rank, size, self.how.workers)
        placed: Any = model
        self.model = placed.to(self.device, memory_format=torch.channels_last)
        _require_fit(self.model, self._moved(test[0][0][None]), classes)
        groups = parameter_groups(self.model, recipe.weight_decay, recipe.bound_decay)
        self.optimizer = torch.optim.SGD(groups, recipe.learning_rate, recipe.momentum)
        self.ema: AveragedModel | None = None
        if recipe.ema is not None:
            averaged = get_ema_multi_avg_fn(recipe.ema)
            self.ema = AveragedModel(self.model, multi_avg_fn=averaged, use_buffers=True)
        # epochs done, and those that a checkpoint has
        self.epoch = self.kept = 0
        self.rows: list[dict[str, Any]] = []
        self.forward: Any = self.model
        if size > 1:
            places = [self.device] if self.device.type == "cuda" else None
            self.forward = DistributedDataParallel(self.model, device_ids=places)
        if self.how.compile:
            self.forward = torch.compile(self.forward)

    @property
    def result(self) -> nn.Module:
        """The network whose accuracy is measured: the running mean where the recipe has one."""
        return self.model if self.ema is None else self.ema.module

    def resume(self) -> None:
        """Goes on from the folder's checkpoint; raises as `checkpoint.read`."""
        found = checkpoint.read(self.folder / CHECKPOINT, self.about)
        self.model.load_state_dict(found["model"])
        self.optimizer.load_state_dict(found["optimizer"])
        if self.ema is not None:
            self.ema.load_state_dict(found["ema"])
        self.epoch = self.kept = found["epoch"]
        self.rows = found["rows"]
        if self.group.first:
            # an interrupted run may have written a line whose epoch is not in the checkpoint, or the other way round
            write_text(self.folder / METRICS, lines(self.rows))

    def run(self) -> None:
        """Every epoch that is left. Raises ValueError where the loss is no number any more, or a bound not above 0."""
        cuda = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):
            while self.epoch < self.recipe.epochs:
                self.rows.append(self._one_epoch() if self.group.size == 1 else self._shared_epoch())
                self.epoch += 1
                self.group.together(lambda: self._write() if self.group.first else None)

    def _shared_epoch(self) -> dict[str, Any]:
        """As `_one_epoch`; raises ProcessError where processes stop answering within a step."""
        try:
            return self._one_epoch()
        except RuntimeError as e:
            if isinstance(e, FastSNNError):
                raise
            raise ProcessError(
                f"process {self.group.rank} of {self.group.size} stopped in epoch {self.epoch + 1}, by itself or "
                f"because another one ended, which its own message may explain: {str(e).strip().splitlines()[0]}"
            ) from e

    def _one_epoch(self) -> dict[str, Any]:
        begin = time.perf_counter()
        loss, right, count = self._train()
        seconds = time.perf_counter() - begin
        bounds = [activation.bound.item() for activation in activations(self.result)]
        noises = [activation.noise.item() for activation in activations(self.model)]
        self.group.together(lambda: _require_sound(self.epoch + 1, loss, bounds))
        # each process has batch norm's statistics of its own share of the images
        for module in (self.model,) if self.ema is None else (self.model, self.ema):
            self.group.first_of(module.buffers())
        correct, tested = self.group.sum(torch.tensor(self._test())).tolist()
        return {
            "epoch": self.epoch + 1,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "train_loss": loss,
            "train_accuracy": right / count,
            "test_accuracy": correct / tested,
            "seconds": seconds,
            "images_per_second": count / seconds,
            "bound_min": min(bounds),
            "bound_mean": sum(bounds) / len(bounds),
            "bound_max": max(bounds),
            "noise_mean": sum(noises) / len(noises),
        }

    def _train(self) -> tuple[float, int, int]:
        """Mean loss, images that were right, and images, over all processes."""
        self.order.epoch = self.epoch
        # of dropout and of noise
        torch.manual_seed(seed_of(self.seed, self.epoch, self.group.rank))
        self.forward.train()
        device = self.device
        dtype = PRECISIONS[self.how.precision_used]
        mixed = nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)
        total, right = torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device)
        for step, (images, labels) in enumerate(self._shown(self.batches, "training")):
            rate = self.recipe.rate(self.epoch * len(self.order) + step, len(self.order))
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            images, labels = self._moved(images), labels.to(device, non_blocking=True)
            if step == 0 and self.recipe.noise_steps:
                measure(self.model, images, self.recipe.noise_steps)
            with mixed:
                logits = self.forward(images)
            loss = cross_entropy(logits.float(), labels, label_smoothing=self.recipe.label_smoothing)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            if self.ema is not None:
                self.ema.update_parameters(self.model)
            # read at the end only: a GPU would have to wait at each step
            total += loss.detach()
            right += (logits.argmax(1) == labels).sum()
        found = [(total.item() / len(self.order), int(right))]
        if self.group.size > 1:
            found = self.group.gather(found[0])
        images_seen = len(self.order) * self.recipe.batch_size
        return sum(loss for loss, _ in found) / len(found), sum(n for _, n in found), images_seen

    @torch.inference_mode()
    def _test(self) -> tuple[int, int]:
        """How many test images are right, of how many, in this process."""
        model = self.result.eval()
        right = count = 0
        for images, labels in self._shown(self.tests, "test"):
            right += int((model(self._moved(images)).argmax(1).cpu() == labels).sum())
            count += len(labels)
        return right, count

    def _moved(self, images: Tensor) -> Tensor:
        return images.to(self.device, memory_format=torch.channels_last, non_blocking=True)

    def _shown(self, batches: Any, what: str) -> Iterator[tuple[Tensor, Tensor]]:
        title = f"epoch {self.epoch + 1} of {self.recipe.epochs}: {what}"
        try:
            yield from tqdm(batches, title, leave=False, disable=None if self.how.progress else True, unit="batch")
        except (ValueError, OSError) as e:
            if not str(e).startswith("Caught "):
                raise
            # a process that loads images sends its whole traceback, whose last line is "ValueError: what is wrong"
            raise ValueError(str(e).strip().splitlines()[-1].partition(": ")[2]) from e

    def _write(self) -> None:
        row = self.rows[-1]
        state = {
            "about": self.about,
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "rows": self.rows,
        }
        checkpoint.write(self.folder / CHECKPOINT, state)
        self.kept = self.epoch
        with (self.folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(lines([row]))
        if self.how.progress:
            tqdm.write(
                f"epoch {row['epoch']}: loss {row['train_loss']:.3f}, train {row['train_accuracy']:.1%}, "
                f"test {row['test_accuracy']:.1%}, {row['images_per_second']:.0f} images/s"
            )


def _require_fit(model: nn.Module, image: Tensor, classes: int) -> None:
    """Raises ValueError where the model has no bounds, or no logits of so many classes for an image [1, C, H, W]."""
    if not activations(model):
        raise ValueError(f"training needs a network with bounds: prepare {type(model).__name__} first")
    shape = tuple(image.shape[1:])
    try:
        with torch.inference_mode():
            logits = model.eval()(image)
    except RuntimeError as e:
        raise ValueError(f"the model does not take images of shape {shape}: {str(e).splitlines()[0]}") from e
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != 1:
        came = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"the model should return logits [1, classes] for an image, got {came}")
    if logits.shape[1] < classes:
        raise ValueError(f"the model tells {logits.shape[1]} classes apart, the images are of {classes}")


def _require_sound(epoch: int, loss: float, bounds: list[float]) -> None:
    if not loss < float("inf"):
        raise ValueError(f"the loss of epoch {epoch} is {loss}: train with a lower learning rate, or a warm-up")
    if not min(bounds) > 0:
        raise ValueError(
            f"a bound fell to {min(bounds):.3g} in epoch {epoch}, which should stay above 0: train with a lower "
            "learning rate or bound decay"
        )
