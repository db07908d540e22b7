"""The five networks of section 3.1: images (N, 1, 32, 32) in, logits (N, 10) out.

Convolutions have stride 1, max-pooling has stride 2, both are valid (no padding). The weights are
PyTorch's default initialisation. There is no activation after the FC-64 of mlp_2 nor after the last
convolution of cnn_3, as in the assignment. There is no softmax: the cross-entropy takes logits.

    >>> from torch import nn
    >>> from models import build
    >>> model = build("cnn_3", nn.Sigmoid)
"""

import inspect
from collections.abc import Callable

from torch import nn

Activation = Callable[[], nn.Module]


def conv(in_channels: int, out_channels: int, size: int) -> nn.Conv2d:
    """Conv-`size`x`size`x`out_channels`."""
    return nn.Conv2d(in_channels, out_channels, size)


def fc(in_features: int, out_features: int, bias: bool = True) -> nn.Linear:
    """FC-`out_features`."""
    return nn.Linear(in_features, out_features, bias)


def pool() -> nn.MaxPool2d:
    """MaxPool-2x2."""
    return nn.MaxPool2d(2, stride=2)


def mlp_1(act: Activation) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(),
        fc(32 * 32, 32), act(),
        fc(32, 10),
    )  # fmt: skip


def mlp_2(act: Activation) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(),
        fc(32 * 32, 32), act(),
        fc(32, 64, bias=False),
        fc(64, 10),
    )  # fmt: skip


def cnn_3(act: Activation) -> nn.Sequential:
    return nn.Sequential(
        conv(1, 16, 3), act(),
        conv(16, 8, 5), act(), pool(),
        conv(8, 16, 7), pool(),
        nn.Flatten(), fc(3 * 3 * 16, 10),
    )  # fmt: skip


def cnn_4(act: Activation) -> nn.Sequential:
    return nn.Sequential(
        conv(1, 16, 3), act(),
        conv(16, 8, 3), act(),
        conv(8, 16, 5), act(), pool(),
        conv(16, 16, 5), act(), pool(),
        nn.Flatten(), fc(4 * 4 * 16, 10),
    )  # fmt: skip


def cnn_5(act: Activation) -> nn.Sequential:
    return nn.Sequential(
        conv(1, 8, 3), act(),
        conv(8, 16, 3), act(),
        conv(16, 8, 3), act(),
        conv(8, 16, 3), act(), pool(),
        conv(16, 16, 3), act(),
        conv(16, 8, 3), act(), pool(),
        nn.Flatten(), fc(4 * 4 * 8, 10),
    )  # fmt: skip


ARCHITECTURES = {"mlp_1": mlp_1, "mlp_2": mlp_2, "cnn_3": cnn_3, "cnn_4": cnn_4, "cnn_5": cnn_5}


def build(name: str, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """A fresh network with random weights.

    `activation` is a module class such as `nn.ReLU` or `nn.Sigmoid`. It works in place where it
    can, which halves its memory traffic; the layers before it do not need their output again.
    Raises KeyError for a name that is not in `ARCHITECTURES`.
    """
    if "inplace" in inspect.signature(activation).parameters:
        return ARCHITECTURES[name](lambda: activation(inplace=True))
    return ARCHITECTURES[name](activation)


def first_layer(model: nn.Module) -> nn.Linear | nn.Conv2d:
    """The first layer that has weights: (32, 1024) in the MLPs, (O, 1, 3, 3) in the CNNs."""
    return next(layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d))


def num_parameters(model: nn.Module) -> int:
    """The number of trainable parameters, weights and biases."""
    return sum(parameter.numel() for parameter in model.parameters())
