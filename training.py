"""The one training loop of all parts, the accuracy, and the device.

Nothing in a training step waits for the device: losses and accuracies stay tensors there, and the
caller turns whole curves into numbers at the end.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

RECORD_EVERY = 10  # "for every 10 steps" (sections 3.1, 4.1, 5.1)
# glibc returns freed memory to the system, to be faulted in again at the next step, unless a block
# as large (up to 32 MB) has been freed before. Faulting it in takes up to a third of a CNN's step.
LARGE_BLOCK = 30_000_000
# Images in a forward pass without gradients: feature maps of more fall out of a CPU core's cache.
CHUNK = 250
GPU_CHUNK = 5_000  # a GPU waits for orders otherwise


def select_device(name: str, local_rank: int = 0) -> torch.device:
    """The device called `name`: "auto", "cpu", "cuda", "cuda:N" or "mps".

    "auto" is CUDA where there is one, else the CPU. Processes on one machine take its GPUs in
    turn: "auto" and "cuda" mean GPU `local_rank` modulo their number. Raises ValueError for a
    device that this machine does not have.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = int(name[5:]) if ":" in name else local_rank % max(count, 1)
        if index >= count:
            raise ValueError(f"{name}: PyTorch sees {count} CUDA devices here; try --device auto")
        return torch.device("cuda", index)
    if name == "mps" and not torch.backends.mps.is_available():
        raise ValueError("mps: PyTorch sees no Apple GPU here; try --device auto")
    return torch.device(name)


class Examples(NamedTuple):
    """Images (N, 1, 32, 32) float32 and their labels (N,) int64 on one device."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Point:
    """One point of the training curves; the gradients of `step` are still in the model."""

    step: int  # counted from 1, over all epochs
    loss: Tensor  # (), mean training loss of the batches since the last point
    accuracy: Tensor  # (), share of the images of those batches classified correctly, percent


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    examples: Examples,
    epochs: range,
    batch_size: int,
    generator: torch.Generator,
    record_every: int = RECORD_EVERY,
) -> Iterator[Point]:
    """Train epoch after epoch and yield a `Point` at every `record_every`th step.

    `examples` lie on the model's device. Each epoch draws a new order of all of them from
    `generator` (on the CPU); its last batch may be smaller. `epochs` is a range, so that a training
    can go on where another stopped: `range(6, 30)` counts its steps from there.

    Loss and accuracy of a point come from the forward passes that computed the gradients. The
    networks have no dropout or batch norm, so this equals `eval()` mode on the same batches.
    """
    torch.empty(LARGE_BLOCK, dtype=torch.uint8)  # freed at once, which is what it is for
    images, labels = examples
    steps_per_epoch = -(-len(images) // batch_size)
    step = epochs.start * steps_per_epoch
    batches = []  # since the last point: loss, logits, labels
    for _ in epochs:
        order = torch.randperm(len(images), generator=generator).to(images.device)
        for batch in order.split(batch_size):
            # The same as images[batch], in half the time
            batch_images = images.index_select(0, batch)
            batch_labels = labels.index_select(0, batch)
            logits = model(batch_images)
            loss = cross_entropy(logits, batch_labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

            step += 1
            batches.append((loss.detach(), logits.detach(), batch_labels))
            if step % record_every == 0:
                losses, all_logits, all_labels = zip(*batches, strict=True)
                classes = torch.cat(all_logits).argmax(1)
                percent = percent_correct(classes, torch.cat(all_labels))
                yield Point(step, torch.stack(losses).mean(), percent)
                batches = []


def percent_correct(classes: Tensor, labels: Tensor) -> Tensor:
    """The share of `classes` (N,) that equal their labels (N,), percent: a () tensor."""
    return 100.0 * (classes == labels).float().mean()


@torch.inference_mode()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """The class (N,) int64 with the largest logit of each of `images` (N, 1, 32, 32)."""
    chunk = CHUNK if images.device.type == "cpu" else GPU_CHUNK
    return torch.cat([model(part).argmax(1) for part in images.split(chunk)])


def accuracy(model: nn.Module, examples: Examples) -> Tensor:
    """The share of `examples` that the model classifies correctly, percent, in eval mode.

    Returns a () tensor on their device.
    """
    was_training = model.training
    model.eval()
    classes = predict(model, examples.images)
    model.train(was_training)
    return percent_correct(classes, examples.labels)
