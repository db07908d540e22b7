"""The rule of part 5: the epoch after which the accuracy stops increasing."""

import numpy as np
import pytest

from experiments.aggregate import MIN_GAIN, PATIENCE, epoch_means, plateau_epoch

PLATEAUS = {  # means of the epochs, and the epoch that is read off
    "the first epoch that is not surpassed": (
        [20, 30, 40, 50, 55, 55.2, 55.1, 55.3, 55.0, 55.4], 5,
    ),
    "a pause shorter than the patience does not count": ([20, 30, 30, 30, 40, 40, 40, 40, 40], 5),
    "gains that are not larger than the least do not count": (
        [30 + 0.99 * MIN_GAIN / PATIENCE * epoch for epoch in range(10)], 1,
    ),
    "a falling curve stops at its top": ([30, 50, 60, 58, 56, 54, 52], 3),
    "a curve that still rises gives its last epoch": (range(20), 20),
    "a pause at the end that is long enough": ([*range(17), 16, 16.1, 16.2], 17),
    "a pause at the end is no plateau yet": ([*range(18), 17, 17.1], 20),
}  # fmt: skip


@pytest.mark.parametrize("case", PLATEAUS)
def test_accuracy_stops_increasing_at(case):
    by_epoch, expected = PLATEAUS[case]
    assert plateau_epoch(np.repeat(by_epoch, 90), len(by_epoch)) == expected


def test_epochs_before_the_last_drop_are_not_considered():
    two_plateaus = np.repeat([20, 30, 30, 30, 30, 40, 45, 45, 45, 45], 90)
    assert [plateau_epoch(two_plateaus, 10, after) for after in (0, 2, 7)] == [2, 7, 10]


def test_noise_around_a_plateau_is_smoothed():
    noise = np.random.default_rng(0).normal(0, 2, 20 * 90)
    by_epoch = [30, 45, 52, 56, 58, *[59] * 15]
    assert plateau_epoch(np.repeat(by_epoch, 90) + noise, 20) in (5, 6)


def test_epochs_need_not_hold_a_whole_number_of_points():
    assert epoch_means(np.array([1.0, 2.0, 6.0]), 2).tolist() == pytest.approx([4 / 3, 14 / 3])
