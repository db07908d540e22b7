import math
import shutil
import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from torch import nn

from models import ARCHITECTURES, build, initialize

# The assignment's table (section 3.1), then PredictionLayer = [FC10]
LAYERS = {
    "mlp_1": "flatten fc32 relu fc10",
    "mlp_2": "flatten fc32 relu fc64-without-bias fc10",
    "cnn_3": "conv16x3 relu conv8x5 relu pool conv16x7 pool flatten fc10",
    "cnn_4": "conv16x3 relu conv8x3 relu conv16x5 relu pool conv16x5 relu pool flatten fc10",
    "cnn_5": "conv8x3 relu conv16x3 relu conv8x3 relu conv16x3 relu pool conv16x3 relu conv8x3 "
    "relu pool flatten fc10",
}


def describe(layer):
    match layer:
        case nn.Flatten(start_dim=1, end_dim=-1):
            return "flatten"
        case nn.ReLU(inplace=True):  # which halves its memory traffic
            return "relu"
        case nn.Linear():
            return f"fc{layer.out_features}" + "-without-bias" * (layer.bias is None)
        case nn.Conv2d(kernel_size=(height, width), stride=(1, 1), padding=(0, 0)):
            return f"conv{layer.out_channels}x{width}" if height == width else str(layer)
        case nn.MaxPool2d(kernel_size=2, stride=2, padding=0):
            return "pool"
    return str(layer)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_networks_are_those_of_the_assignment(name):
    model = build(name)
    assert " ".join(map(describe, model)) == LAYERS[name]
    assert model(torch.zeros(3, 1, 32, 32)).shape == (3, 10)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_relu_and_sigmoid_start_from_equal_weights(name):
    states = []
    for activation in (nn.ReLU, nn.Sigmoid):
        torch.manual_seed(3)
        model = build(name, activation)
        activations = [layer for layer in model if isinstance(layer, activation)]
        assert len(activations) == LAYERS[name].count("relu")
        states.append(list(model.state_dict().values()))
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))


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


@pytest.mark.parametrize("name", ["data", "models", "utils"])
def test_each_file_can_be_lifted_out_of_the_package(name, tmp_path):
    shutil.copy(ROOT / f"{name}.py", tmp_path)
    subprocess.run([sys.executable, "-c", f"import {name}"], cwd=tmp_path, check=True)
