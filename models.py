"""The five networks of section 3.1: images (N, 1, 32, 32) in, logits (N, 10) out.

Convolutions have stride 1, max-pooling has stride 2, and both are valid (no padding). Weights have
PyTorch's default initialization. As in the assignment, there is no activation after the FC-64 of
mlp_2 nor after the last convolution of cnn_3. There is no softmax, because
`torch.nn.CrossEntropyLoss` takes logits. The file imports nothing of the package.

    >>> from torch import nn
    >>> from models import build
    >>> model = build("cnn_3", nn.Sigmoid)
"""

import inspect
from collections.abc import Callable

from torch import nn

Activation = Callable[[], nn.Module]


def conv(in_channels: int, out_channels: int, size: int) -> nn.Conv2d:
    """Return Conv-`size`x`size`x`out_channels`."""
    return nn.Conv2d(in_channels, out_channels, size, stride=1, padding=0)


def fc(in_features: int, out_features: int, bias: bool = True) -> nn.Linear:
    """Return FC-`out_features`."""
    return nn.Linear(in_features, out_features, bias)


def pool() -> nn.MaxPool2d:
    """Return MaxPool-2x2."""
    return nn.MaxPool2d(2, stride=2, padding=0)


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
    """Build a network with new random weights.

    name: a key of ARCHITECTURES. Raises KeyError for another name.
    activation: a module class such as `nn.ReLU` or `nn.Sigmoid`. It works in place where it can,
    which halves its memory traffic; the layers before it do not need their output again.
    """
    if "inplace" in inspect.signature(activation).parameters:
        return ARCHITECTURES[name](lambda: activation(inplace=True))
    return ARCHITECTURES[name](activation)


def initialize(model: nn.Module, initialization: str) -> None:
    """Draw the weights of `model` anew for its activation and set its biases to zero.

    "glorot" (Glorot and Bengio, 2010): uniform with gain 4, because the slope of the sigmoid is at
    most 1/4, and gain 1 in the prediction layer.
    "he" (He et al., 2015): normal with gain sqrt(2), because ReLU passes half of its inputs.
    "default" leaves the weights as they are. Raises ValueError for another name.
    """
    if initialization not in ("default", "glorot", "he"):
        raise ValueError(f"initialization {initialization!r} is not default, glorot or he")
    if initialization == "default":
        return
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    for layer in layers:
        if initialization == "glorot":
            nn.init.xavier_uniform_(layer.weight, gain=1.0 if layer is layers[-1] else 4.0)
        else:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def first_layer(model: nn.Module) -> nn.Linear | nn.Conv2d:
    """Return the first layer that has weights: (32, 1024) in the MLPs, (O, 1, 3, 3) in the CNNs."""
    return next(layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d))


def num_parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters, weights and biases."""
    return sum(parameter.numel() for parameter in model.parameters())
