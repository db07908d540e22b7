"""The one training loop, and the evaluation."""

import copy

from experiments.training import CPU_CHUNK, evaluate, train

import pytest
import torch
from torch.nn.functional import cross_entropy

from data import BatchLoader, Examples
from models import build

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


@pytest.mark.parametrize(
    ("images", "epochs", "every", "steps"),
    [
        (200, range(7), 10, list(range(10, 71, 10))),
        (200, range(2), 7, [7, 14]),
        (200, range(3, 5), 10, [40, 50]),  # where another run stopped
        (190, range(2), 10, [10, 20]),  # a smaller last batch is trained, too
    ],
)
def test_points_stand_at_the_steps_that_are_asked_for(images, epochs, every, steps, examples):
    some = Examples(examples.images[:images], examples.labels[:images])
    assert [point.step for point in start(new_model(), some, epochs, every)] == steps


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


def test_the_same_seed_gives_the_same_bits(examples):
    curves = []
    for _ in range(2):
        model = new_model("cnn_3").to(memory_format=torch.channels_last)
        curves.append(torch.stack([point.loss for point in start(model, examples)]))
    assert torch.equal(*curves)


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
