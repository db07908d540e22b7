"""The training loop of all parts, the evaluation, and the model and optimizer of a RunConfig.

Nothing in a training step waits for the device. Losses and accuracies stay tensors on it, and
`experiments.runner` turns whole curves into numbers at the end.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from experiments.config import RunConfig

import torch
from torch import Tensor, nn

from data import BatchLoader, Examples
from models import build, initialize

# Images in a forward pass without gradients. The feature maps of more than 250 images fall out of a
# CPU core's cache. A GPU needs more at once to be busy.
CPU_CHUNK, GPU_CHUNK = 250, 5_000


@dataclass(frozen=True)
class Point:
    """One point of the training curves. The gradients of `step` are still in the model."""

    step: int  # counted from 1, over all epochs
    loss: Tensor  # (), mean training loss of the batches since the last point of this `train`
    accuracy: Tensor  # (), percentage of the images of those batches classified correctly


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train_generator: BatchLoader,
    epochs: range,
    record_every: int,
) -> Iterator[Point]:
    """Train `model` and yield a `Point` at every `record_every`th step.

    train_generator: yields the batches (images, labels) of an epoch, shuffled, on the model's
    device. A `torch.utils.data.DataLoader` will do.
    epochs: a range, so that a run can be continued: `range(6, 30)` counts its steps from the
    beginning of the seventh epoch.

    Loss and accuracy come from the forward passes that compute the gradients. The networks have no
    dropout and no batch norm, so this equals `eval()` mode on the same batches before each update.
    """
    loss_function = nn.CrossEntropyLoss()  # applies the softmax
    model.train()
    step = epochs.start * len(train_generator)
    batches = []  # since the last point: loss, logits, labels
    for _ in epochs:
        for images, labels in train_generator:  # which shuffles them anew in every epoch
            # "Do not forget necessary optimization steps"
            logits = model(images)  # forward pass
            loss = loss_function(logits, labels)  # loss
            optimizer.zero_grad()  # clear the gradients of the step before
            loss.backward()  # backward pass: the gradient of the loss
            optimizer.step()  # update of the weights

            step += 1
            batches.append((loss.detach(), logits.detach(), labels))
            if step % record_every == 0:  # "for every 10 steps"
                losses, all_logits, all_labels = zip(*batches, strict=True)
                classes = torch.cat(all_logits).argmax(1)
                accuracy = percent_correct(classes, torch.cat(all_labels))
                yield Point(step, torch.stack(losses).mean(), accuracy)
                batches = []


def evaluate(model: nn.Module, examples: Examples) -> Tensor:
    """Return the accuracy of `model` on `examples` in `eval()` mode.

    Returns a () tensor on their device: the percentage of images that are classified correctly.
    """
    was_training = model.training
    model.eval()
    classes = predict(model, examples.images)
    model.train(was_training)
    return percent_correct(classes, examples.labels)


@torch.inference_mode()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Return the class (N,) int64 with the largest logit for each of `images` (N, 1, 32, 32)."""
    chunk = CPU_CHUNK if images.device.type == "cpu" else GPU_CHUNK
    return torch.cat([model(part).argmax(1) for part in images.split(chunk)])


def percent_correct(classes: Tensor, labels: Tensor) -> Tensor:
    """Return the percentage of `classes` (N,) that equal `labels` (N,), a () tensor."""
    return 100.0 * (classes == labels).float().mean()


def new_model(config: RunConfig, device: torch.device) -> nn.Sequential:
    """Build the network of `config` with its initial weights.

    They are drawn on the CPU, so they are the same on every device.
    """
    torch.manual_seed(config.seed)
    model = build(config.architecture, getattr(nn, config.activation))
    initialize(model, config.initialization)
    # Convolutions on a CPU are two to three times faster in this layout; on a GPU, in single
    # precision, they are slower (PyTorch issue 44943)
    if device.type == "cpu":
        model = model.to(memory_format=torch.channels_last)
    return model.to(device)


def new_optimizer(
    config: RunConfig, model: nn.Module, learning_rate: float
) -> torch.optim.Optimizer:
    """Create the optimizer of `config` with PyTorch's default parameters but for the learning rate.

    So there is no weight decay ("no weight regularization") and SGD has a momentum of 0. `fused`
    is the same arithmetic, faster.
    """
    optimizer_class = getattr(torch.optim, config.optimizer)
    return optimizer_class(model.parameters(), lr=learning_rate, fused=True)
