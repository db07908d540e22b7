"""Where the accuracy stops increasing, and the learning rate that is lowered there."""

from experiments.aggregate import MIN_GAIN, PATIENCE, epoch_means, plateau_epoch
from experiments.training import new_model

import numpy as np
import pytest
import torch
from helpers_records import options
from torch import nn

import part5_learning_rate as part5
from data import BatchLoader, Data, Examples

PLATEAUS = {  # means of the epochs, and the epoch that is read off
    "the first epoch that is not surpassed": (
        [20, 30, 40, 50, 55, 55.2, 55.1, 55.3, 55.0, 55.4], 5,
    ),
    "a pause shorter than the patience does not count": ([20, 30, 30, 30, 40, 40, 40, 40, 40], 5),
    "gains that are not larger than the least do not count": (
        [30 + MIN_GAIN / PATIENCE * epoch for epoch in range(10)], 1,
    ),
    "a falling curve stops at its top": ([30, 50, 60, 58, 56, 54, 52], 3),
    "a curve that still rises gives its last epoch": (range(20), 20),
    "a pause at the end that is long enough": ([*range(17), 16, 16.1, 16.2], 17),
    "a pause at the end is no plateau yet": ([*range(18), 17, 17.1], 20),
}  # fmt: skip


@pytest.mark.parametrize("case", PLATEAUS)
def test_accuracy_stops_increasing_at(case):
    by_epoch, expected = PLATEAUS[case]
    assert PATIENCE == 3
    assert plateau_epoch(np.repeat(by_epoch, 90), len(by_epoch)) == expected


def test_epochs_before_the_last_drop_are_not_considered():
    two_plateaus = np.repeat([20, 30, 30, 30, 30, 40, 45, 45, 45, 45], 90)
    assert plateau_epoch(two_plateaus, 10) == 2
    assert plateau_epoch(two_plateaus, 10, after=2) == 7
    assert plateau_epoch(two_plateaus, 10, after=7) == 10


def test_noise_around_a_plateau_is_smoothed():
    noise = np.random.default_rng(0).normal(0, 2, 20 * 90)
    by_epoch = [30, 45, 52, 56, 58, *[59] * 15]
    assert plateau_epoch(np.repeat(by_epoch, 90) + noise, 20) in (5, 6)


def test_epochs_need_not_hold_a_whole_number_of_points():
    assert epoch_means(np.array([1.0, 2.0, 6.0]), 2).tolist() == pytest.approx([4 / 3, 14 / 3])
    for points in (1, 3, 7, 20, 25):
        assert 1 <= plateau_epoch(np.linspace(10, 11, points), 10) <= 10


def test_schedule_replaces_the_optimizer_and_keeps_the_model():
    """Equal to training by hand with one learning rate after another on the same network."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(60, 1, 32, 32, generator=generator)
    examples = Examples(images, torch.randint(10, (60,), generator=generator))
    small = options(arch="mlp_2", epochs=2, batch_size=6)
    config = part5.configure(small, drop_epochs=[1])
    assert config.phases() == [(0.1, range(1)), (0.01, range(1, 3))]
    data = Data(examples, examples, examples, "")
    recorded = part5.train_run(config, data, lambda step: None)

    model = new_model(config, torch.device("cpu"))
    loader = BatchLoader(examples, config.batch_size, seed=config.seed)
    for learning_rate in (0.1, 0.01, 0.01):
        for batch, labels in loader:
            loss = nn.functional.cross_entropy(model(batch), labels)
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                    parameter.sub_(gradient, alpha=learning_rate)
    torch.testing.assert_close(recorded["weights"], model[1].weight)
    assert len(recorded["val_acc_curve"]) == 3
