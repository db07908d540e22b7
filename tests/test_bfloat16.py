"""The classes that bfloat16 may decide, and those that it leaves to single precision."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch
from conftest import pretend, run_layers
from torch import nn

from data import load
from inference import (
    SAMPLE,
    decide,
    has_bfloat16,
    in_bfloat16,
    max_of_four,
    predict,
)
from models import build
from part3_architectures import plan
from runs import train_and_validate


def test_a_pytorch_that_cannot_tell_has_no_bfloat16(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not has_bfloat16()


def test_close_images_are_decided_in_single_precision(bfloat16):
    torch.manual_seed(0)
    model, images = build("cnn_5").eval(), torch.rand(1000, 1, 32, 32) * 2 - 1
    with torch.no_grad():
        model[-1].bias -= model(images).mean(0)  # so that all classes occur
    exact = model(images).argmax(1)
    assert (run_layers(in_bfloat16(model), images).argmax(1) != exact).any()

    num_images = {torch.bfloat16: 0, torch.float32: 0}  # that each precision sees

    def count(module, args, out):
        num_images[out.dtype] += len(out)

    model[3].register_forward_hook(count)
    assert torch.equal(predict(model, images), exact)
    assert num_images[torch.bfloat16] == (1000 if bfloat16 else 0)
    assert (20 < num_images[torch.float32] < 1000) == bfloat16


def test_in_bfloat16_are_the_middle_layers_of_a_copy():
    images = torch.rand(100, 1, 32, 32)
    model = build("cnn_4").eval()
    before = [parameter.clone() for parameter in model.parameters()]
    layers = in_bfloat16(model)
    rough, exact = run_layers(layers, images), run_layers(model, images)
    assert 0 < (rough - exact).abs().max() < 0.05 * exact.std()
    assert all(map(torch.equal, before, model.parameters()))
    assert len(layers) == len(model) + 2
    assert layers[:3] == [model[0], model[1], torch.Tensor.bfloat16]
    assert layers[-2:] == [torch.Tensor.float, model[-1]]
    assert layers.count(max_of_four) == 2


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_few_layers_in_bfloat16_are_all_there(num_layers):
    images = torch.rand(100, 1, 32, 32)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.Linear(7200, 10))[:num_layers]
    rough, exact = run_layers(in_bfloat16(model), images), run_layers(model, images)
    torch.testing.assert_close(rough, exact, atol=0.05, rtol=0.05)


def test_a_training_has_the_accuracies_of_single_precision(monkeypatch):
    options = Namespace(runs=1, seed=0, epochs=2, batch_size=50, dataset="synthetic")
    (run,) = plan("cnn_5", options)
    data = load("synthetic", Path(), torch.device("cpu"), quick=True)
    results = []
    for has_it in (True, False):
        pretend(monkeypatch, has_it)
        results.append(train_and_validate(run, data, lambda step: None))
    half, single = results
    assert len(half["val_acc_curve"]) == 18
    assert half["val_acc_curve"] == single["val_acc_curve"]
    assert half["test_acc"] == single["test_acc"]


def test_few_images_do_not_need_bfloat16(bfloat16):
    model, dtypes = build("cnn_5").eval(), set()
    model[3].register_forward_hook(lambda module, args, out: dtypes.add(out.dtype))
    predict(model, torch.rand(199, 1, 32, 32))
    assert dtypes == {torch.float32}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_another_dtype_is_kept(dtype, bfloat16):
    model, images = build("cnn_5").eval().to(dtype), torch.rand(200, 1, 32, 32, dtype=dtype)
    assert torch.equal(predict(model, images), model(images).argmax(1))


class Asked:
    """Precise logits that note for which places they were asked."""

    def __init__(self, precise):
        self.precise, self.places = precise, []

    def __call__(self, places):
        self.places += places.tolist()
        return self.precise[places]


NUM_IMAGES = 5 * SAMPLE
SAMPLED = set(range(0, NUM_IMAGES, 5))


@pytest.fixture
def margins():
    """0.000, 0.001, 0.002, ..., shuffled."""
    places = torch.randperm(NUM_IMAGES, generator=torch.Generator().manual_seed(0))
    return torch.arange(NUM_IMAGES)[places] / 1000


@pytest.fixture
def rough(margins):
    """Logits of images whose two largest, of classes 9 and 4, are `margins` apart."""
    logits = torch.arange(10).repeat(NUM_IMAGES, 1) - 100.0
    logits[:, 4] = 1.0
    logits[:, 9] = 1.0 + margins
    return logits


def with_errors(rough, errors):
    """The precise logits, where the rough ones are wrong by `errors` in favor of class 9."""
    precise = rough.clone()
    precise[:, 4] += 0.75 * errors
    precise[:, 9] -= 0.25 * errors
    return precise


@pytest.mark.parametrize("error", [0.0501, 0.1201, 0.3001])
def test_precise_logits_are_asked_for_as_far_as_the_largest_error_reaches(error, rough, margins):
    errors = torch.full((NUM_IMAGES,), error / 3)
    errors[100] = error  # one of the sample
    asked = Asked(with_errors(rough, errors))
    assert torch.equal(decide(rough, asked), asked.precise.argmax(1))
    near = {place for place in range(NUM_IMAGES) if margins[place] <= 1.5 * error}
    assert sorted(asked.places) == sorted(SAMPLED | near)  # none of them twice


def test_larger_errors_that_are_found_on_the_way_reach_further(rough, margins):
    errors = torch.full((NUM_IMAGES,), 0.0101)
    (place,) = (margins == margins[torch.arange(NUM_IMAGES) % 5 == 1].min()).nonzero()
    errors[place] = 0.0501
    asked = Asked(with_errors(rough, errors))
    decide(rough, asked)
    near = {place for place in range(NUM_IMAGES) if margins[place] <= 1.5 * 0.0501}
    assert sorted(asked.places) == sorted(SAMPLED | near)


def test_errors_that_the_closest_images_do_not_have_are_seen(rough, margins):
    precise = with_errors(rough, torch.where(margins > 0.3, 0.4, 0.0))
    assert torch.equal(decide(rough, Asked(precise)), precise.argmax(1))


def test_a_precise_logit_that_is_nan_makes_all_images_be_asked_for(rough):
    asked = Asked(rough.clone())
    asked.precise[100, 2] = torch.nan
    assert torch.equal(decide(rough, asked), asked.precise.argmax(1))
    assert len(asked.places) == NUM_IMAGES


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_images_whose_rough_logits_are_not_finite_are_asked_for(value, rough):
    asked = Asked(rough.clone())
    far = 101  # not of the sample
    rough[far, 9 if value != -torch.inf else slice(0, 9)] = value
    assert torch.equal(decide(rough, asked), asked.precise.argmax(1))
    assert far in asked.places


def test_few_images_are_all_asked_for(rough):
    asked = Asked(rough[: SAMPLE + 1])
    decide(rough[: SAMPLE + 1], asked)
    assert len(asked.places) == SAMPLE + 1
