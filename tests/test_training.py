"""What the loops of the scripts use: evaluation, means over batches, the optimizer in words."""

import copy
from functools import partial

import pytest
import torch
from torch.optim import SGD, Adam, AdamW, RMSprop

from data import Examples
from experiments.storage import UserError
from experiments.training import CPU_CHUNK, describe_optimizer, evaluate, mean_loss_and_accuracy
from models import build


def test_accuracy_is_the_share_of_hits_in_eval_mode():
    """Of a whole number of chunks and a remainder; dropout would spoil it in training mode."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2 * CPU_CHUNK + 9, 1, 32, 32, generator=generator) * 2 - 1
    torch.manual_seed(0)
    model = build("cnn_4")
    labels = model(images).argmax(1)
    labels[:50] = (labels[:50] + 1) % 10
    for network in (model, torch.nn.Sequential(torch.nn.Dropout(0.9), copy.deepcopy(model))):
        for training in (True, False):
            network.train(training)
            accuracy = evaluate(network, Examples(images, labels))
            assert accuracy.item() == pytest.approx(100 - 100 * 50 / len(labels))
            assert network.training == training
            assert not accuracy.requires_grad


def test_a_point_is_the_mean_of_the_losses_and_the_share_of_the_images():
    """The last batch of an epoch may be smaller."""
    sure = torch.eye(10)
    batches = [(torch.tensor(1.0), sure, torch.arange(10)), (torch.tensor(4.0), sure[:1], [5])]
    batches = [(loss, logits, torch.as_tensor(labels)) for loss, logits, labels in batches]
    loss, accuracy = mean_loss_and_accuracy(batches)
    assert (loss.item(), accuracy.item()) == (2.5, pytest.approx(100 * 10 / 11))


@pytest.mark.parametrize(
    ("new_optimizer", "description"),
    [
        (partial(Adam, fused=True), ("Adam", 0.001)),
        (partial(Adam, betas=(0.8, 0.99)), ("Adam(betas=(0.8, 0.99))", 0.001)),
        (AdamW, ("AdamW", 0.001)),
        (RMSprop, ("RMSprop", 0.01)),
        (partial(SGD, lr=0.1), ("SGD", 0.1)),
        (partial(SGD, lr=0.1, momentum=0.9, nesterov=True),
         ("SGD(momentum=0.9, nesterov=True)", 0.1)),
        (lambda parameters: SGD([{"params": parameters, "lr": 0.5}], momentum=0.9),
         ("SGD(momentum=0.9)", 0.5)),
    ],
)  # fmt: skip
def test_an_optimizer_is_described_by_what_differs_from_its_defaults(new_optimizer, description):
    assert describe_optimizer(new_optimizer) == description


@pytest.mark.parametrize(
    ("new_optimizer", "named"),
    [(partial(RMSprop, fused=True), "fused"), (partial(SGD, lr=-1), "-1")],
)
def test_an_optimizer_that_there_cannot_be_is_refused_in_one_line(new_optimizer, named):
    with pytest.raises(UserError, match=f"new_optimizer: .*{named}") as caught:
        describe_optimizer(new_optimizer)
    assert len(str(caught.value).splitlines()) == 1
