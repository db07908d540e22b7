import math
import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from torch import nn

from models import ARCHITECTURES, build, first_layer, initialize, num_parameters

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


@pytest.mark.parametrize(
    ("name", "parameters", "features", "first"),
    [
        ("mlp_1", 33_130, 32, (32, 1024)),
        ("mlp_2", 35_498, 64, (32, 1024)),
        ("cnn_3", 11_106, 144, (16, 1, 3, 3)),
        ("cnn_4", 13_522, 256, (16, 1, 3, 3)),
        ("cnn_5", 8_346, 128, (8, 1, 3, 3)),
    ],
)
def test_networks_are_those_of_the_assignment(name, parameters, features, first):
    model = build(name)
    assert [describe(layer) for layer in model] == LAYERS[name]
    assert num_parameters(model) == parameters
    assert model[-1].in_features == features
    assert first_layer(model).weight.shape == first
    assert model(torch.zeros(3, 1, 32, 32)).shape == (3, 10)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_relu_and_sigmoid_start_from_equal_weights(name):
    states = []
    for activation in (nn.ReLU, nn.Sigmoid):
        torch.manual_seed(3)
        model = build(name, activation)
        activations = [layer for layer in model if isinstance(layer, activation)]
        assert len(activations) == LAYERS[name].count(RELU)
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


def layers_of(name, initialization):
    """The layers of a network that have weights, each with its numbers of inputs and outputs."""
    torch.manual_seed(0)
    model = build(name)
    initialize(model, initialization)
    layers = [layer for layer in model if isinstance(layer, nn.Linear | nn.Conv2d)]
    return [
        (layer.weight[0].numel(), layer.weight[:, 0].numel(), layer.weight.detach(), layer.bias)
        for layer in layers
    ]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_glorot_is_uniform_with_gain_4_and_in_the_prediction_layer_1(name):
    layers = layers_of(name, "glorot")
    for inputs, outputs, weight, bias in layers:
        gain = 1 if weight is layers[-1][2] else 4
        limit = gain * math.sqrt(6 / (inputs + outputs))
        assert 0.95 * limit < weight.abs().max() <= limit
        assert weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.15)
        assert bias is None or (bias == 0).all()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_he_is_normal_with_a_variance_of_2_over_the_inputs(name):
    for inputs, _, weight, bias in layers_of(name, "he"):
        deviation = math.sqrt(2 / inputs)
        assert weight.std().item() == pytest.approx(deviation, rel=0.2)
        assert weight.abs().max() > 2 * deviation  # a uniform one ends at 1.7
        assert bias is None or (bias == 0).all()


def test_other_initializations_leave_the_weights_as_they_are():
    torch.manual_seed(0)
    model = build("cnn_3")
    before = [parameter.clone() for parameter in model.parameters()]
    initialize(model, "default")
    with pytest.raises(ValueError, match="'xavier' is not default, glorot or he"):
        initialize(model, "xavier")
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


ALONE = """
import importlib, sys
for name in sys.argv[1:]:
    sys.path[0] = name  # the folder that holds this file and nothing else
    importlib.import_module(name)
    del sys.modules[name]
"""


def test_each_file_can_be_lifted_out_of_the_package(tmp_path):
    names = ("data", "models", "utils")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.py").write_text((ROOT / f"{name}.py").read_text())
    subprocess.run([sys.executable, "-c", ALONE, *names], cwd=tmp_path, check=True)
