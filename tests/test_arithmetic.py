"""Sums that can be done by hand: what tables, report and schedules make of the records."""

from argparse import Namespace

import numpy as np
from helpers_records import record, write_record

import part3_architectures as part3
import part5_learning_rate as part5
from averages import describe, read_adam_records
from report.facts import compare, gap_groups
from report.facts_sgd import epoch_below, first_epoch, late_rise, noise

OPTIONS = {"runs": 1, "batch_size": 50, "seed": 0, "dataset": "synthetic", "drop_epochs": None,
           "arch": "mlp_2", "rank": 0, "world_size": 1, "plot_only": True}  # fmt: skip


def accuracies(mean, deviation):
    return {"test_acc_mean": mean, "test_acc_std": deviation, "runs": 4}


def test_means_are_compared_in_standard_errors_of_their_difference():
    """Of four runs each, deviations 6 and 8: sqrt(36 / 4 + 64 / 4) = 5 points."""
    high, low = accuracies(60.0, 6.0), accuracies(45.0, 8.0)
    expected = {"difference": "15.00", "errors": "3.0", "higher": True, "clear": True}
    assert compare(high, low) == expected
    assert compare(low, high) == expected | {"higher": False}
    assert compare(high, accuracies(46.0, 8.0)) == {
        "difference": "14.00", "errors": "2.8", "higher": True, "clear": False,
    }  # fmt: skip


def test_nothing_about_a_single_run_is_clear():
    comparison = compare(accuracies(60.0, None), accuracies(45.0, 8.0))
    assert (comparison["errors"], comparison["clear"]) == ("0.0", False)


def test_gaps_are_grouped_where_runs_can_tell_them_apart():
    """Of four runs each, deviation 2: a difference has a standard error of sqrt(2) points."""
    runs = {
        name: [
            record(config={"epochs": 1}, train_acc_curve=[40 + gap + d], val_acc_curve=[40])
            for d in (-(3**0.5), -(3**0.5), 3**0.5, 3**0.5)
        ]
        for name, gap in (("a", 1), ("b", 5), ("c", 9.5))
    }
    assert gap_groups(["a", "b", "c"], runs) == [["a", "b"], ["c"]]
    runs["c"] = runs["c"][:1]
    assert gap_groups(["a", "b", "c"], runs) == [["a", "b", "c"]]


def test_noise_is_the_deviation_from_the_trend_within_an_epoch():
    flat, rising = [0, 0, 0, 0], [10 + 1, 20 - 1, 30 - 1, 40 + 1]
    accuracies_by_epoch = record(config={"epochs": 2}, val_acc_curve=flat + rising)
    assert noise(accuracies_by_epoch, 1) < 1e-9
    assert abs(noise(accuracies_by_epoch, 2) - 1) < 1e-6


def test_epochs_are_counted_from_one():
    by_epoch = np.array([10.0, 20.0, 30.0, 25.0])
    assert [first_epoch(by_epoch, level) for level in (5, 20, 21, 31)] == [1, 2, 3, None]


def test_a_loss_is_below_a_level_in_the_first_epoch_whose_mean_over_points_and_runs_is():
    losses = [4, 2, 2, 0], [8, 6, 4, 2]  # two epochs of two points: means 3 and 1, 7 and 3
    records = [record(config={"epochs": 2}, loss_curve=points) for points in losses]
    assert [epoch_below(level, records) for level in (5, 4.9, 2, 1.9)] == [1, 2, 2, None]


def test_a_late_rise_is_that_of_the_last_three_epochs():
    assert late_rise(np.array([1.0, 2.0, 4.0, 8.0, 16.0])) == 16 - 2
    assert late_rise(np.array([3.0, 5.0])) == 2
    assert late_rise(np.array([3.0])) == 0


def test_test_accuracies_are_described_by_mean_and_deviation():
    records = [record(test_acc) for test_acc in (50, 50, 50, 54)]  # variance 12 / 3
    assert describe(records) == "51.00 ± 2.00 % (4 runs)"
    assert describe(records[3:]) == "54.00 % (one run)"


def test_adam_is_compared_only_where_it_has_seen_the_same_data(tmp_path):
    runs = part3.plan("mlp_2", Namespace(**OPTIONS | {"runs": 3, "epochs": 4}))
    for run, checksum in zip(runs, ("a", "b", "a"), strict=True):
        write_record(run, tmp_path, [1.0], checksum * 64)
    records = read_adam_records("mlp_2", "a" * 64, tmp_path)
    assert [r.path.name for r in records] == ["run_00.npz", "run_02.npz"]
    assert read_adam_records("mlp_2", "c" * 64, tmp_path) == []
    assert read_adam_records("cnn_4", "a" * 64, tmp_path) == []


def test_the_second_drop_is_read_off_after_the_first(tmp_path):
    """The curve with one drop holds the plateau before it, too, for it is the same training."""
    options = Namespace(**OPTIONS | {"epochs": 10, "out": tmp_path})
    before, after = [20, 30, 30, 30, 30], [40, 45, 45, 45, 45, 45, 45, 45, 45, 45]
    (constant,) = part5.plan(options, [0.1])
    write_record(constant, tmp_path, np.repeat([*before, *before], 4))
    (one_drop,) = part5.plan(options, [0.1, 0.01], [2])
    write_record(one_drop, tmp_path, np.repeat([*before, *after], 4))
    for (run,), drops in zip(part5.schedules(options), ((2,), (2, 7)), strict=True):
        assert run.drop_epochs == drops
        assert run.epochs == 15
