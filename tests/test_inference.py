from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from conftest import run_layers
from torch import nn

from inference import (
    CHUNK,
    faster,
    max_of_four,
    pair_columns,
    predict,
    single_threads,
)
from models import ARCHITECTURES, build


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2 * CHUNK + 1, 1, 32, 32, generator=generator) * 2 - 1


def logits(model, images):
    return run_layers([faster(layer) for layer in model], images)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Sigmoid])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_class_is_that_of_the_models_largest_logit(name, activation, images, bfloat16):
    model = build(name, activation).to(memory_format=torch.channels_last).eval()
    classes = predict(model, images)
    assert classes.dtype == torch.int64
    assert torch.equal(classes, model(images).argmax(1))


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Sigmoid])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_logits_are_those_of_the_model(name, activation, images):
    model = build(name, activation).to(memory_format=torch.channels_last).eval()
    torch.testing.assert_close(logits(model, images), model(images).detach())


def test_no_images_have_no_classes(bfloat16, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert predict(build("cnn_5").eval(), torch.empty(0, 1, 32, 32)).shape == (0,)


def test_the_number_of_threads_does_not_change_the_bits_nor_is_changed(images):
    model = build("cnn_4").eval()
    before, results = torch.get_num_threads(), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            with single_threads() as threads:
                together = Barrier(number, timeout=60)  # of so many threads
                list(threads.map(lambda _, barrier=together: barrier.wait(), range(number)))
                assert threads.submit(torch.get_num_threads).result() == 1
            results.append(logits(model, images))
            assert torch.get_num_threads() == number
            with ThreadPoolExecutor(1) as new_thread:
                assert new_thread.submit(torch.get_num_threads).result() == number
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*results)


def test_an_error_in_a_thread_is_raised_and_leaves_the_number_of_threads(images):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="channels"):
            predict(nn.Sequential(nn.Conv2d(3, 8, 3)), images)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


class Negated(nn.Sequential):
    def forward(self, images):
        return -super().forward(images)


class Wrapped(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, images):
        return -self.layers(images)


@pytest.mark.parametrize("kind", [Negated, Wrapped])
def test_what_is_more_than_a_sequence_is_taken_as_it_is(kind, images, bfloat16):
    model = kind(*build("cnn_5")).eval()
    assert torch.equal(predict(model, images), model(images).argmax(1))


@pytest.mark.parametrize("size", [(26, 26), (7, 7), (8, 5)])
def test_max_of_four_is_max_pooling(size):
    maps = torch.randn(3, 4, *size)
    assert torch.equal(max_of_four(maps), nn.MaxPool2d(2)(maps))


@pytest.mark.parametrize("width", [12, 13])
@pytest.mark.parametrize(("in_channels", "size"), [(1, 3), (16, 5), (3, 2)])
def test_paired_columns_are_the_convolution(in_channels, size, width):
    conv = nn.Conv2d(in_channels, 8, size)
    maps = torch.randn(5, in_channels, 11, width)
    with torch.inference_mode():
        torch.testing.assert_close(pair_columns(conv)(maps), conv(maps))


@pytest.mark.parametrize(
    "layer",
    [
        nn.MaxPool2d(3, stride=2),
        nn.MaxPool2d(2, stride=1),
        nn.MaxPool2d(2, padding=1),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.MaxPool2d(2, return_indices=True),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.Conv2d(8, 8, 3, stride=2),
        nn.Conv2d(8, 8, 3, dilation=2),
        nn.Conv2d(8, 8, 3, groups=2),
        nn.Conv2d(8, 8, 3, bias=False),
        nn.Conv2d(8, 16, 3),
        nn.ReLU(),
    ],
)
def test_layers_of_another_kind_stay_as_they_are(layer, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert faster(layer) is layer


@pytest.mark.parametrize("capability", ["AVX512", "AVX2"])
def test_columns_are_paired_where_registers_hold_sixteen_numbers(capability, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    conv = nn.Conv2d(16, 8, 5)
    assert (faster(conv) is not conv) == (capability == "AVX512")
