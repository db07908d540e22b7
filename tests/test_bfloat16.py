"""The classes that bfloat16 may decide, and those that it leaves to single precision."""

import pytest
import torch
from torch import nn

from inference import (
    CLOSEST,
    SAFETY,
    decide,
    has_bfloat16,
    in_bfloat16,
    logits_of,
    predict,
    single_threads,
)
from models import build


def test_a_pytorch_that_cannot_tell_has_no_bfloat16(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not has_bfloat16()


@pytest.mark.parametrize("has_it", [True, False])
def test_bfloat16_is_used_where_the_cpu_has_it(has_it, monkeypatch):
    capabilities = {"avx512_bf16": has_it}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    model, dtypes = build("cnn_5").eval(), set()
    model[3].register_forward_hook(lambda module, args, out: dtypes.add(out.dtype))
    predict(model, torch.rand(10, 1, 32, 32))
    assert dtypes == ({torch.bfloat16, torch.float32} if has_it else {torch.float32})


@torch.inference_mode()
def run(layers, images):
    with single_threads() as threads:
        return logits_of(layers, images, threads)


def test_close_images_are_decided_in_single_precision(monkeypatch):
    capabilities = {"avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    torch.manual_seed(0)
    model, images = build("cnn_5").eval(), torch.rand(1000, 1, 32, 32) * 2 - 1
    with torch.no_grad():
        model[-1].bias -= model(images).mean(0)  # so that all classes occur
    exact = model(images).argmax(1)
    assert (run(in_bfloat16(model), images).argmax(1) != exact).any()
    assert torch.equal(predict(model, images), exact)


def test_bfloat16_is_near_and_leaves_the_model_alone():
    images = torch.rand(100, 1, 32, 32)
    model = build("cnn_4").eval()
    before = [parameter.clone() for parameter in model.parameters()]
    layers = in_bfloat16(model)
    rough, exact = run(layers, images), run(model, images)
    assert rough.dtype == torch.float32
    assert layers[-1] is model[-1]  # in single precision
    assert 0 < (rough - exact).abs().max() < 0.05 * exact.std()
    assert all(map(torch.equal, before, model.parameters()))


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_few_layers_in_bfloat16_are_all_there(num_layers):
    images = torch.rand(100, 1, 32, 32)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.Linear(7200, 10))[:num_layers]
    rough, exact = run(in_bfloat16(model), images), run(model, images)
    torch.testing.assert_close(rough, exact, atol=0.05, rtol=0.05)


class Asked:
    """Exact logits that note for which places they were asked."""

    def __init__(self, exact):
        self.exact, self.places = exact, []

    def __call__(self, places):
        self.places += places.tolist()
        return self.exact[places]


@pytest.fixture
def rough():
    """Logits of 1,000 images whose two largest are 0.000, 0.001, 0.002, ... apart, shuffled."""
    logits = torch.arange(10).repeat(1000, 1) - 100.0
    margins = torch.arange(1000) / 1000
    logits[:, 4] = 1.0
    logits[:, 7] = 1.0 + margins[torch.randperm(1000, generator=torch.Generator().manual_seed(0))]
    return logits


@pytest.mark.parametrize("error", [0.05, 0.12, 0.3])
def test_images_are_asked_for_from_the_closest_on_as_far_as_errors_reach(rough, error):
    """Each difference of the two largest logits is wrong by `error`, in class 4's favor."""
    exact = rough.clone()
    exact[:, 4] += error / 2
    exact[:, 7] -= error / 2
    asked = Asked(exact)
    assert torch.equal(decide(rough, asked), exact.argmax(1))
    margins = rough[:, 7] - rough[:, 4]
    num_asked = len(asked.places)
    assert sorted(asked.places) == sorted(margins.argsort()[:num_asked].tolist())
    # all that are closer than SAFETY * error, rounded up to a multiple of CLOSEST
    assert num_asked == -(-round(1000 * SAFETY * error) // CLOSEST) * CLOSEST


def test_an_exact_logit_that_is_nan_makes_all_images_be_asked_for(rough):
    exact = rough.clone()
    exact[(rough[:, 7] - rough[:, 4]).argmin(), 2] = torch.nan
    asked = Asked(exact)
    assert torch.equal(decide(rough, asked), exact.argmax(1))
    assert len(asked.places) == len(rough)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_images_whose_rough_logits_are_not_finite_are_asked_for(rough, value):
    exact = rough.clone()
    far = (rough[:, 7] - rough[:, 4]).argmax()
    rough[far, 7 if value != -torch.inf else slice(0, 9)] = value
    asked = Asked(exact)
    assert torch.equal(decide(rough, asked), exact.argmax(1))
    assert far in asked.places
