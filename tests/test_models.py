"""The five networks: layers, parameters, initial weights."""

import ast
import math

import pytest
import torch
from conftest import ROOT
from torch import nn

from models import ARCHITECTURES, build, first_layer, initialize, num_parameters

# The assignment's table (section 3.1), then PredictionLayer = [FC10]
LAYERS = {
    "mlp_1": "flatten fc32 relu fc10",
    "mlp_2": "flatten fc32 relu fc64-without-bias fc10",
    "cnn_3": "conv16x3 relu conv8x5 relu pool conv16x7 pool flatten fc10",
    "cnn_4": "conv16x3 relu conv8x3 relu conv16x5 relu pool conv16x5 relu pool flatten fc10",
    "cnn_5": "conv8x3 relu conv16x3 relu conv8x3 relu conv16x3 relu pool conv16x3 relu conv8x3 "
    "relu pool flatten fc10",
}
PARAMETERS = {"mlp_1": 33_130, "mlp_2": 35_498, "cnn_3": 11_106, "cnn_4": 13_522, "cnn_5": 8_346}


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
    assert num_parameters(model) == PARAMETERS[name]
    assert first_layer(model).weight is next(model.parameters())


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


@pytest.mark.parametrize("initialization", ["glorot", "he"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_glorot_is_uniform_and_he_is_normal(name, initialization):
    """With gain 4, which is 1 in the prediction layer, and with a variance of 2 over the inputs."""
    torch.manual_seed(0)
    model = build(name)
    initialize(model, initialization)
    layers = [layer for layer in model if isinstance(layer, nn.Linear | nn.Conv2d)]
    for layer in layers:
        inputs, outputs = layer.weight[0].numel(), layer.weight[:, 0].numel()
        deviation, largest = layer.weight.std().item(), layer.weight.abs().max().item()
        if initialization == "glorot":
            limit = (1 if layer is layers[-1] else 4) * math.sqrt(6 / (inputs + outputs))
            assert 0.95 * limit < largest <= limit * (1 + 1e-6)
            assert deviation == pytest.approx(limit / math.sqrt(3), rel=0.15)
        else:
            assert deviation == pytest.approx(math.sqrt(2 / inputs), rel=0.2)
            assert largest > 2 * deviation  # a uniform one ends at 1.7
        assert layer.bias is None or (layer.bias == 0).all()


def test_the_default_initialization_is_pytorchs_and_another_name_is_refused():
    torch.manual_seed(0)
    model = build("cnn_3")
    before = [parameter.clone() for parameter in model.parameters()]
    initialize(model, "default")
    with pytest.raises(ValueError, match="'xavier'"):
        initialize(model, "xavier")
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("name", ["data", "models", "utils"])
def test_each_file_can_be_lifted_out_of_the_package(name):
    imported = set()
    for node in ast.walk(ast.parse((ROOT / f"{name}.py").read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).partition(".")[0])
    assert len(imported) > 2
    assert imported.isdisjoint({"experiments", *(path.stem for path in ROOT.glob("*.py"))})
