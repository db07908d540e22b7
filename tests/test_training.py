"""The one training loop, and the evaluation."""

import copy

from experiments.training import CPU_CHUNK, evaluate, train

import pytest
import torch
from torch.nn.functional import cross_entropy

from data import BatchLoader, Examples
from models import build, first_layer

BATCH_SIZE = 20


@pytest.fixture
def examples():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(200, 1, 32, 32, generator=generator) * 2 - 1
    return Examples(images, torch.randint(10, (200,), generator=generator))


def new_model(name="mlp_1"):
    torch.manual_seed(0)
    return build(name)


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.01)


def start(model, examples, epochs=range(3), record_every=10):
    loader = BatchLoader(examples, BATCH_SIZE, seed=0)
    return train(model, sgd(model), loader, epochs, record_every)


def test_points_stand_at_the_steps_that_are_asked_for(examples):
    assert [p.step for p in start(new_model(), examples, range(7))] == list(range(10, 71, 10))
    assert [p.step for p in start(new_model(), examples, range(2), 7)] == [7, 14]


def test_steps_go_on_where_another_training_stopped(examples):
    assert [p.step for p in start(new_model(), examples, range(3, 5))] == [40, 50]


def test_a_smaller_last_batch_is_trained_too(examples):
    odd = Examples(examples.images[:190], examples.labels[:190])
    assert [p.step for p in start(new_model(), odd, range(2))] == [10, 20]


def test_a_point_is_the_mean_over_its_batches(examples):
    model, expected_model = new_model(), new_model()
    optimizer = sgd(expected_model)
    generator = torch.Generator().manual_seed(0)
    for point in start(model, examples, range(2)):
        losses, hits = [], 0
        for batch in torch.randperm(200, generator=generator).split(BATCH_SIZE):
            logits = expected_model(examples.images[batch])
            loss = cross_entropy(logits, examples.labels[batch])
            hits += (logits.argmax(1) == examples.labels[batch]).sum().item()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert point.loss.item() == pytest.approx(sum(losses) / 10, rel=1e-6)
        assert point.accuracy.item() == pytest.approx(100 * hits / 200)
    assert point.step == 20
    for mine, theirs in zip(model.parameters(), expected_model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("name", ["mlp_1", "cnn_5"])
def test_gradient_is_the_step_over_the_learning_rate(name, examples):
    """Question 1.2 of the assignment: under plain SGD, dL/dw = (w_k - w_{k+1}) / learning rate."""
    model = new_model(name).double()
    weight = first_layer(model).weight
    before = weight.detach().clone()
    double = Examples(examples.images.double(), examples.labels)
    for _ in start(model, double, range(1), record_every=1):
        torch.testing.assert_close(weight.grad, (before - weight.detach()) / 0.01)
        before = weight.detach().clone()


def test_the_same_seed_gives_the_same_bits(examples):
    curves = []
    for _ in range(2):
        model = new_model("cnn_3").to(memory_format=torch.channels_last)
        curves.append(torch.stack([point.loss for point in start(model, examples)]))
    assert torch.equal(*curves)


def test_nothing_in_a_step_waits_for_the_device(examples, monkeypatch):
    """`.item()`, `.tolist()`, `bool(tensor)` and their like would stop a GPU at every step."""
    waits = []
    for name in ("item", "tolist", "__bool__", "__float__", "__int__", "cpu", "numpy"):
        original = getattr(torch.Tensor, name)

        def counted(self, *args, original=original, name=name, **kwargs):
            waits.append(name)
            return original(self, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, counted)
    model = new_model("cnn_5")
    for _ in start(model, examples, range(2)):
        evaluate(model, examples)
    assert waits == []


def test_accuracy_is_the_share_of_hits_in_eval_mode(examples):
    """Of a whole number of chunks and a remainder; dropout would spoil it in training mode."""
    more = Examples(*(torch.cat([tensor] * 3) for tensor in examples))
    assert len(more.labels) % CPU_CHUNK
    model = new_model("cnn_4")
    hits = (model(more.images).argmax(1) == more.labels).sum().item()
    for network in (model, torch.nn.Sequential(torch.nn.Dropout(0.9), copy.deepcopy(model))):
        for training in (True, False):
            network.train(training)
            accuracy = evaluate(network, more)
            assert accuracy.item() == pytest.approx(100 * hits / 600)
            assert network.training == training
            assert not accuracy.requires_grad
