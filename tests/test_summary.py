"""Sums that can be done by hand: what summary, tables, report and schedules make of records."""

import json

from experiments.aggregate import describe
from experiments.config import replicate
from experiments.storage import UserError

import numpy as np
import pytest
import torch
from conftest import ROOT, call_script
from helpers_faults import assert_one_line
from helpers_records import options, record, write_record

import part3_architectures as part3
import part4_activations as part4
import part5_learning_rate as part5
from models import build
from report import facts, summary

OPTIONS = options(epochs=2, arch="mlp_2")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Records of two epochs of two points each."""
    out = tmp_path_factory.mktemp("results")
    first, second = replicate(part3.configure("cnn_5", OPTIONS), 2)
    write_record(first, out, [1, 1, 50, 54], test_acc=50, train_acc_curve=[0, 0, 60, 70])
    write_record(second, out, [1, 1, 56, 60], test_acc=54, train_acc_curve=[0, 0, 80, 90])
    write_record(part3.configure("mlp_2", OPTIONS), out, [1, 1, 30, 32], test_acc=31)
    for activation in ("sigmoid", "relu"):
        runs = replicate(part4.configure("cnn_5", activation, OPTIONS), 2)
        for run, curve in zip(runs, ([3, 5, 1, 2], [2, 4, 3, 4]), strict=True):
            loss = [2, np.nan, np.nan, np.inf] if activation == "relu" else curve
            write_record(run, out, loss, test_acc=20, grad_curve=np.multiply(curve, 1e-3))
    for kind in ({"unscaled": True}, {"initialized": True}):
        config = part4.configure("cnn_5", "relu", options(epochs=2, **kind))
        write_record(config, out, [5000, 2, 2, 2], grad_curve=[1, 1, 1, 1])
    for run, curve in zip(
        replicate(part5.configure(OPTIONS, 0.1), 2),
        ([10, 10, 40, 40], [30, 30, 20, 20]),
        strict=True,
    ):
        write_record(run, out, curve, test_acc=40)
    write_record(part5.configure(OPTIONS, 0.001), out, [1, 2, 3, 4])
    dropped = part5.configure(OPTIONS, drop_epochs=[1])
    write_record(dropped, out, [40, 40, 10, 10, 10, 20])
    adam = part5.configure(OPTIONS, 0.001, optimizer="Adam")
    write_record(adam, out, [1] * 6)
    return out


@pytest.fixture(scope="module")
def numbers(results):
    return summary.summarise(results)


# ---- The summary


def test_part3_has_means_deviation_and_best_over_runs_and_the_last_epoch(numbers):
    assert numbers["part3"]["cnn_5"] == pytest.approx({
        "parameters": 8346, "epochs": 2, "runs": 2, "test_acc_mean": 52, "test_acc_best": 54,
        "test_acc_std": 8**0.5, "train_acc_final": 75, "val_acc_final": 55, "gap": 20,
        "seconds_per_run": 1,
    })  # fmt: skip
    assert numbers["part3"]["mlp_2"]["test_acc_std"] is None  # of a single run


def test_part4_has_the_first_points_and_the_last_epoch(numbers):
    row = numbers["part4"]["cnn_5"]
    expected = {
        "epochs": 2, "runs": 2, "test_acc_mean": 20, "test_acc_std": 0, "test_acc_best": 20,
        "loss_first": 2.5, "loss_last": 2.5, "grad_first": 2.5e-3, "grad_last": 2.5e-3,
    }  # fmt: skip
    assert row["sigmoid"] == pytest.approx(expected)
    assert row["relu"]["loss_first"] == 2
    assert row["relu"]["loss_last"] is None  # not a number
    assert numbers["part4_unscaled"]["cnn_5"]["relu"]["loss_first"] == 5000
    assert "cnn_5" in numbers["part4_initialized"]


def test_part5_has_all_variants(numbers):
    variants = numbers["part5"]["mlp_2"]
    assert set(variants) == {"lr_0.1", "lr_0.001", "drop_01", "adam"}
    fast = variants["lr_0.1"]
    assert (fast["val_acc_best"], fast["val_acc_final"]) == (30, 30)  # of the mean of both runs
    assert (fast["optimizer"], fast["learning_rates"], fast["epochs"]) == ("SGD", [0.1], 2)
    dropped = variants["drop_01"]
    assert (dropped["drop_epochs"], dropped["epochs"]) == ([1], 3)
    assert (dropped["val_acc_best"], dropped["val_acc_final"]) == (40, 15)
    assert (variants["adam"]["optimizer"], variants["adam"]["epochs"]) == ("Adam", 3)


def test_records_of_different_data_are_refused(tmp_path):
    write_record(part3.configure("mlp_2", OPTIONS), tmp_path, [1, 1], "a" * 64)
    write_record(part3.configure("cnn_5", OPTIONS), tmp_path, [1, 1], "b" * 64)
    with pytest.raises(UserError, match="different data"):
        summary.summarise(tmp_path)


def test_tables_have_the_numbers_in_order(numbers):
    lines = summary.markdown_tables(numbers).splitlines()
    starts = [line.split(" | ")[0][2:] for line in lines if line.startswith("| ")]
    assert starts == [
        "architecture", "---", "mlp_2", "cnn_5",
        "variant", "---", "cnn_5, relu", "cnn_5, sigmoid",
        "cnn_5, relu, inputs 0 to 255", "cnn_5, relu, initialized",
        "variant", "---", "mlp_2, SGD 0.1", "mlp_2, SGD 0.001", "mlp_2, SGD 0.1 → 0.01",
        "mlp_2, Adam 0.001", "mlp_2, Adam (part 3)",
    ]  # fmt: skip
    expected = {
        "| cnn_5 |": ("8,346", "52.00 ± 2.83", "54.00", "75.0", "55.0", "20.0"),
        "| mlp_2 |": ("35,498", "31.00"),
        "| cnn_5, sigmoid |": ("2.500", "2.5e-03", "20.00 ± 0.00"),
        "| cnn_5, relu |": ("2.000", "overflow"),
        "| cnn_5, relu, inputs": ("5.0e+03",),
        "| mlp_2, SGD 0.1 → 0.01 |": ("1", "3", "40.0", "15.0", "50.00"),
    }
    for start, cells in expected.items():
        (line,) = (line for line in lines if line.startswith(start))
        assert set(cells) <= set(line.strip("| ").split(" | ")), line


def test_negative_numbers_have_a_minus_sign():
    assert summary.number_text(-0.25, ".1f") == "\N{MINUS SIGN}0.2"
    assert summary.number_text(-0.04, ".1f") == "0.0"


def test_script_writes_json_and_the_tables_between_the_markers(results, numbers, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"vor ä\n{summary.BEGIN}\nold\n{summary.END}\nafter\n", encoding="utf-8")
    done = call_script("report.summary", "--out", results, "--readme", readme)
    assert json.loads((results / "summary.json").read_text()) == numbers
    tables = summary.markdown_tables(numbers)
    assert done.stdout == f"{tables}\n"
    text = f"vor ä\n{summary.BEGIN}\n{tables}\n{summary.END}\nafter\n"
    assert readme.read_text(encoding="utf-8") == text


def test_without_records_or_markers_a_line_says_so(results, tmp_path):
    assert_one_line(call_script("report.summary", "--out", tmp_path, status=1), 1, "no records")
    (tmp_path / "README.md").write_text("no markers")
    (results / "summary.json").unlink(missing_ok=True)
    arguments = ("--out", results, "--readme", tmp_path / "README.md")
    assert "markers" in call_script("report.summary", *arguments, status=1).stderr
    assert not (results / "summary.json").exists()


def test_committed_summary_and_readme_are_those_of_the_committed_records():
    numbers = summary.summarise(ROOT / "results")
    assert json.loads((ROOT / "results" / "summary.json").read_text()) == numbers
    assert summary.markdown_tables(numbers) in (ROOT / "README.md").read_text(encoding="utf-8")


# ---- What the report and part 5 make of it


def accuracies(mean, deviation):
    return {"test_acc_mean": mean, "test_acc_std": deviation, "runs": 4}


def test_means_are_compared_in_standard_errors_of_their_difference():
    """Of four runs each, deviations 6 and 8: sqrt(36 / 4 + 64 / 4) = 5 points."""
    high, low = accuracies(60.0, 6.0), accuracies(45.0, 8.0)
    expected = {"difference": "15.00", "errors": "3.0", "clear": True}
    assert facts.compare(high, low) == expected
    assert facts.compare(low, high) == expected
    assert facts.compare(high, accuracies(46.0, 8.0)) == {
        "difference": "14.00", "errors": "2.8", "clear": False,
    }  # fmt: skip


def test_nothing_about_a_single_run_is_clear():
    comparison = facts.compare(accuracies(60.0, None), accuracies(45.0, 8.0))
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
    assert facts.gap_groups(["a", "b", "c"], runs) == [["a", "b"], ["c"]]
    runs["c"] = runs["c"][:1]
    assert facts.gap_groups(["a", "b", "c"], runs) == [["a", "b", "c"]]


def test_noise_is_the_deviation_from_the_trend_within_an_epoch():
    flat, rising = [0, 0, 0, 0], [10 + 1, 20 - 1, 30 - 1, 40 + 1]
    accuracies_by_epoch = record(config={"epochs": 2}, val_acc_curve=flat + rising)
    assert facts.noise(accuracies_by_epoch, 1) < 1e-9
    assert abs(facts.noise(accuracies_by_epoch, 2) - 1) < 1e-6


def test_epochs_are_counted_from_one():
    by_epoch = np.array([10.0, 20.0, 30.0, 25.0])
    assert [facts.first_epoch(by_epoch, level) for level in (5, 20, 21, 31)] == [1, 2, 3, None]


def test_a_loss_is_below_a_level_in_the_first_epoch_whose_mean_over_points_and_runs_is():
    losses = [4, 2, 2, 0], [8, 6, 4, 2]  # two epochs of two points: means 3 and 1, 7 and 3
    records = [record(config={"epochs": 2}, loss_curve=points) for points in losses]
    assert [facts.epoch_below(level, records) for level in (5, 4.9, 2, 1.9)] == [1, 2, 2, None]


def test_speeds_are_compared_by_the_interpolated_time_to_a_level():
    fast, slow = np.array([10.0, 30.0, 40.0]), np.array([10.0, 14.0, 20.0])
    # Halfway between the middles of the first two epochs, or between the first two points
    assert facts.epochs_until(20, fast) == 1.0
    assert facts.epochs_until(20, fast, first=1) == 1.5
    assert facts.epochs_until(10, fast) == 0.5
    assert facts.epochs_until(41, fast) == np.inf
    assert facts.speed_up(20, fast, slow) == 3 / 1.5  # of recorded points


def test_points_are_means_over_nine_around_them_where_there_are_nine():
    def smooth(curve):
        return facts.smooth_points([record(config={}, val_acc_curve=curve)]).tolist()

    assert smooth(range(8)) == list(range(8))
    np.testing.assert_allclose(smooth([0, 0, 3, 3, 9, 0, 0, 3, 0, 9]), [0, 0, 3, 3, 2, 3])


def test_epochs_of_several_runs_are_a_range_and_how_many_never_get_there():
    assert facts.epochs_text([4]) == "4"
    assert facts.epochs_text([5, 3, 4]) == "3 to 5"
    assert facts.epochs_text([5, None, 5]) == "5 (1 of 3 runs never)"
    assert facts.epochs_text([None]) == "never"


def test_a_gap_is_interpolated_at_a_training_accuracy():
    curves = {"train_acc_curve": [50, 60], "val_acc_curve": [49, 57]}
    other = curves | {"val_acc_curve": [45, 53]}
    records = [record(config={"epochs": 2}, **of_run) for of_run in (curves, other)]
    assert facts.gap_at(55, records) == {"mean": 4, "text": "4.0 ± 2.0"}


def test_weights_that_have_their_first_bits_are_counted():
    torch.manual_seed(7)
    weights = build("cnn_5", torch.nn.Sigmoid)[0].weight.detach().numpy().copy()
    weights[:2] += 1
    definition = {"seed": 7, "architecture": "cnn_5", "activation": "Sigmoid"}
    found = facts.unmoved_weights(record(config=definition, weights=weights))
    assert (found["same"], found["all"]) == (54, 72)


def test_a_late_rise_is_that_of_the_last_three_epochs():
    assert facts.late_rise(np.array([1.0, 2.0, 4.0, 8.0, 16.0])) == 16 - 2
    assert facts.late_rise(np.array([3.0, 5.0])) == 2
    assert facts.late_rise(np.array([3.0])) == 0


def test_test_accuracies_are_described_by_mean_and_deviation():
    records = [record(test_acc) for test_acc in (50, 50, 50, 54)]  # variance 12 / 3
    assert describe(records) == "51.00 ± 2.00 % (4 runs)"
    assert describe(records[3:]) == "54.00 % (one run)"


def test_the_second_drop_is_read_off_after_the_first(tmp_path):
    """The curve with one drop holds the plateau before it, too, for it is the same run."""
    plotting = options(epochs=10, out=tmp_path, arch="mlp_2", plot_only=True)
    before, after = [20, 30, 30, 30, 30], [40, 45, 45, 45, 45, 45, 45, 45, 45, 45]
    write_record(part5.configure(plotting, 0.1), tmp_path, np.repeat([*before, *before], 4))
    one_drop = part5.configure(plotting, drop_epochs=[2])
    write_record(one_drop, tmp_path, np.repeat([*before, *after], 4))
    runs = part5.train_schedules(plotting)
    assert {key: run.drop_epochs for key, (run,) in runs.items()} == {
        "one drop": (2,), "two drops": (2, 7),
    }  # fmt: skip
    assert {run.epochs for (run,) in runs.values()} == {15}
