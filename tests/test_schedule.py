import numpy as np
import pytest

from part5_learning_rate import MIN_GAIN, PATIENCE, stops_increasing


def curve(by_epoch, points_per_epoch=90):
    return np.repeat(by_epoch, points_per_epoch)


def test_the_first_epoch_that_is_not_surpassed():
    rising = [20, 30, 40, 50, 55, 55.2, 55.1, 55.3, 55.0, 55.4]
    assert stops_increasing(curve(rising), 10) == 5


def test_a_pause_shorter_than_the_patience_does_not_count():
    assert PATIENCE == 3
    pausing = [20, 30, 30, 30, 40, 40, 40, 40, 40]
    assert stops_increasing(curve(pausing), 9) == 5


def test_a_gain_has_to_be_larger_than_the_least():
    small = [30 + MIN_GAIN / PATIENCE * epoch for epoch in range(10)]
    assert stops_increasing(curve(small), 10) == 1


def test_a_falling_curve_stops_at_its_top():
    assert stops_increasing(curve([30, 50, 60, 58, 56, 54, 52]), 7) == 3


def test_epochs_before_the_last_drop_are_not_considered():
    two_plateaus = [20, 30, 30, 30, 30, 40, 45, 45, 45, 45]
    assert stops_increasing(curve(two_plateaus), 10) == 2
    assert stops_increasing(curve(two_plateaus), 10, after=5) == 7


def test_a_curve_that_still_rises_gives_its_last_epoch():
    assert stops_increasing(curve(np.arange(20)), 20) == 20


def test_a_pause_at_the_end_is_no_plateau_yet():
    assert stops_increasing(curve([*range(17), 16, 16.1, 16.2]), 20) == 17
    assert stops_increasing(curve([*range(18), 17, 17.1]), 20) == 20


def test_noise_around_a_plateau_is_smoothed():
    noise = np.random.default_rng(0).normal(0, 2, 20 * 90)
    by_epoch = [30, 45, 52, 56, 58, *[59] * 15]
    assert stops_increasing(curve(by_epoch) + noise, 20) in (5, 6)


@pytest.mark.parametrize("points", [1, 3, 7, 20, 25])
def test_epochs_need_not_hold_a_whole_number_of_points(points):
    assert 1 <= stops_increasing(np.linspace(10, 11, points), 10) <= 10
