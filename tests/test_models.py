import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from torch import nn

from models import ARCHITECTURES, build, first_layer, num_parameters

FLATTEN, RELU, POOL = ("flatten",), ("relu",), ("pool", 2, 2, 0)


def conv(channels, size):
    return ("conv", channels, (size, size), (1, 1), (0, 0))


def fc(features, bias=True):
    return ("fc", features, bias)


# The assignment's table (section 3.1), then PredictionLayer = [FC10]
LAYERS = {
    "mlp_1": [FLATTEN, fc(32), RELU, fc(10)],
    "mlp_2": [FLATTEN, fc(32), RELU, fc(64, bias=False), fc(10)],
    "cnn_3": [
        conv(16, 3), RELU, conv(8, 5), RELU, POOL, conv(16, 7), POOL, FLATTEN, fc(10),
    ],
    "cnn_4": [
        conv(16, 3), RELU, conv(8, 3), RELU, conv(16, 5), RELU, POOL,
        conv(16, 5), RELU, POOL, FLATTEN, fc(10),
    ],
    "cnn_5": [
        conv(8, 3), RELU, conv(16, 3), RELU, conv(8, 3), RELU, conv(16, 3), RELU, POOL,
        conv(16, 3), RELU, conv(8, 3), RELU, POOL, FLATTEN, fc(10),
    ],
}  # fmt: skip


def describe(layer):
    match layer:
        case nn.Flatten():
            return FLATTEN
        case nn.ReLU():
            return RELU
        case nn.Linear():
            return fc(layer.out_features, layer.bias is not None)
        case nn.Conv2d():
            return ("conv", layer.out_channels, layer.kernel_size, layer.stride, layer.padding)
        case nn.MaxPool2d():
            return ("pool", layer.kernel_size, layer.stride, layer.padding)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_layers_are_those_of_the_assignment(name):
    assert [describe(layer) for layer in build(name)] == LAYERS[name]


@pytest.mark.parametrize(
    ("name", "parameters", "features"),
    [
        ("mlp_1", 33_130, 32),
        ("mlp_2", 35_498, 64),
        ("cnn_3", 11_106, 144),
        ("cnn_4", 13_522, 256),
        ("cnn_5", 8_346, 128),
    ],
)
def test_number_of_parameters_and_features(name, parameters, features):
    model = build(name)
    assert num_parameters(model) == parameters
    assert model[-1].in_features == features
    assert model(torch.zeros(3, 1, 32, 32)).shape == (3, 10)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_relu_and_sigmoid_start_from_equal_weights(name):
    states = []
    for activation in (nn.ReLU, nn.Sigmoid):
        torch.manual_seed(3)
        model = build(name, activation)
        assert any(isinstance(layer, activation) for layer in model)
        states.append(list(model.state_dict().values()))
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_relu_is_in_place_and_gives_the_same_gradients(name):
    torch.manual_seed(0)
    model = build(name)
    assert all(layer.inplace for layer in model if isinstance(layer, nn.ReLU))
    images = torch.randn(4, 1, 32, 32)
    model(images).square().mean().backward()
    in_place = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    for layer in model:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    model(images).square().mean().backward()
    for gradient, parameter in zip(in_place, model.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("mlp_1", (32, 1024)), ("mlp_2", (32, 1024)), ("cnn_3", (16, 1, 3, 3)),
     ("cnn_4", (16, 1, 3, 3)), ("cnn_5", (8, 1, 3, 3))],
)  # fmt: skip
def test_first_layer(name, shape):
    assert first_layer(build(name)).weight.shape == shape


@pytest.mark.parametrize("module", ["models", "utils"])
def test_can_be_lifted_out_of_the_package(module, tmp_path):
    (tmp_path / f"{module}.py").write_text((ROOT / f"{module}.py").read_text())
    subprocess.run([sys.executable, "-c", f"import {module}"], cwd=tmp_path, check=True)
