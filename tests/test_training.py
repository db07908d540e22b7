import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from models import build, first_layer
from training import Examples, accuracy, select_device, train

BATCH_SIZE = 20


@pytest.fixture
def examples():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(200, 1, 32, 32, generator=generator) * 2 - 1
    return Examples(images, torch.randint(10, (200,), generator=generator))


def new_model(name="mlp_1"):
    torch.manual_seed(0)
    return build(name)


def sgd(model, learning_rate=0.01):
    return torch.optim.SGD(model.parameters(), lr=learning_rate)


def start(model, examples, epochs=range(3), **options):
    generator = torch.Generator().manual_seed(0)
    return train(model, sgd(model), examples, epochs, BATCH_SIZE, generator, **options)


def test_a_point_at_every_tenth_step(examples):
    steps = [point.step for point in start(new_model(), examples, range(7))]
    assert steps == list(range(10, 71, 10))


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


def test_every_epoch_shuffles_all_images_anew(examples):
    seen = []

    class Spy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = new_model()

        def forward(self, images):
            seen.append(images[:, 0, 0, 0])
            return self.model(images)

    list(start(Spy(), examples, range(2)))
    first, second = torch.cat(seen[:10]), torch.cat(seen[10:])
    everything = examples.images[:, 0, 0, 0]
    assert torch.equal(first.sort().values, everything.sort().values)
    assert torch.equal(second.sort().values, everything.sort().values)
    assert not torch.equal(first, second)
    assert not torch.equal(first, everything)


@pytest.mark.parametrize("name", ["mlp_1", "cnn_5"])
def test_gradient_is_the_step_over_the_learning_rate(name, examples):
    """Question 1.2 of the assignment: under plain SGD, dL/dw = (w_k - w_{k+1}) / learning rate."""
    model = new_model(name).double()
    double = Examples(examples.images.double(), examples.labels)
    weight = first_layer(model).weight
    generator = torch.Generator().manual_seed(0)
    before = weight.detach().clone()
    points = train(model, sgd(model), double, range(1), BATCH_SIZE, generator, record_every=1)
    for _ in points:
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
        accuracy(model, examples)
    assert waits == []


def test_accuracy_is_the_share_of_hits_in_eval_mode(examples):
    model = new_model("cnn_4")
    hits = (model(examples.images).argmax(1) == examples.labels).sum().item()
    assert accuracy(model, examples).item() == pytest.approx(100 * hits / 200)
    assert model.training
    dropout = torch.nn.Sequential(torch.nn.Dropout(0.9), copy.deepcopy(model))
    assert accuracy(dropout, examples).item() == pytest.approx(100 * hits / 200)


def test_auto_takes_cuda_where_there_is_one(monkeypatch):
    assert select_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [select_device("auto", rank).index for rank in range(4)] == [0, 1, 0, 1]
    assert select_device("cuda", 1) == torch.device("cuda:1")
    assert select_device("cuda:0", 1) == torch.device("cuda:0")
    with pytest.raises(ValueError, match="cuda:2.*2 CUDA devices"):
        select_device("cuda:2")
