"""What a training loop needs and the assignment does not mention.

Nothing here waits for the device. Losses and accuracies stay tensors on it, and
`experiments.runner` turns whole curves into numbers at the end of a run.
"""

import inspect
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from data import Examples
from experiments.config import RunConfig
from experiments.storage import UserError, first_line
from models import initialize

# Images in a forward pass without gradients. The feature maps of more than 250 images fall out of a
# CPU core's cache. A GPU needs more at once to be busy.
CPU_CHUNK, GPU_CHUNK = 250, 5_000


def new_model(config: RunConfig, device: torch.device) -> nn.Module:
    """Build the network of `config` with its initial weights.

    They are drawn on the CPU, so that a GPU gets the same ones.
    """
    torch.manual_seed(config.seed)
    with torch.device("cpu"):
        model = config.network()
        initialize(model, config.initialization)
    # Convolutions on a CPU are two to three times faster in this layout; on a GPU, in single
    # precision, they are slower (PyTorch issue 44943)
    if device.type == "cpu":
        model = model.to(memory_format=torch.channels_last)
    return model.to(device)


def describe_optimizer(
    new_optimizer: Callable[[list[Tensor]], torch.optim.Optimizer],
) -> tuple[str, float]:
    """Return the class of the optimizer with what differs from its defaults, and its learning rate.

    For instance "Adam" and 0.001, or "SGD(momentum=0.9)" and 0.01. The options that choose an
    implementation of the same arithmetic are left out. Raises UserError if there can be no such
    optimizer.
    """
    try:
        optimizer = new_optimizer([torch.zeros(1)])
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"new_optimizer: {first_line(error)}") from error
    group = optimizer.param_groups[0]
    parameters = inspect.signature(type(optimizer)).parameters
    left_out = {"params", "lr", "fused", "foreach", "capturable", "differentiable"}
    changed = [
        f"{name}={value}"
        for name, value in group.items()
        if name in parameters.keys() - left_out and value != parameters[name].default
    ]
    name = type(optimizer).__name__
    return f"{name}({', '.join(changed)})" if changed else name, float(group["lr"])


def mean_loss_and_accuracy(batches: Sequence[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, ...]:
    """Return the mean loss of some batches, and their accuracy in percent, two () tensors.

    batches: the loss (), the logits (B, 10) and the labels (B,) of each.
    """
    losses, logits, labels = zip(*batches, strict=True)
    accuracy = percent_correct(torch.cat(logits).argmax(1), torch.cat(labels))
    return torch.stack(losses).mean(), accuracy


@torch.inference_mode()
def evaluate(model: nn.Module, examples: Examples) -> Tensor:
    """Return the accuracy of `model` on `examples` in `eval()` mode, in percent, a () tensor."""
    images, labels = examples
    chunk = CPU_CHUNK if images.device.type == "cpu" else GPU_CHUNK
    was_training = model.training
    model.eval()
    classes = torch.cat([model(part).argmax(1) for part in images.split(chunk)])
    model.train(was_training)
    return percent_correct(classes, labels)


def percent_correct(classes: Tensor, labels: Tensor) -> Tensor:
    """Return the percentage of `classes` (N,) that equal `labels` (N,), a () tensor."""
    return 100.0 * (classes == labels).float().mean()
