"""Sums that can be done by hand: what the summary and its tables make of records."""

import json

import numpy as np
import pytest
from conftest import ROOT, call_script
from helpers_faults import assert_one_line
from helpers_records import write_record

import part3_architectures as part3
import part4_activations as part4
import part5_learning_rate as part5
from experiments import records
from experiments.storage import UserError
from report import summary

REFERENCE = ROOT / "results" / "reference"
SETTINGS = {"epochs": 2, "batch_size": 450, "dataset": "synthetic", "quick": True}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Records of two epochs of two points each."""
    out = tmp_path_factory.mktemp("results")
    first, second = part3.configure("cnn_5", **SETTINGS).replicate(2)
    write_record(first, out, [1, 1, 50, 54], test_acc=50, train_acc_curve=[0, 0, 60, 70])
    write_record(second, out, [1, 1, 56, 60], test_acc=54, train_acc_curve=[0, 0, 80, 90])
    write_record(part3.configure("mlp_2", **SETTINGS), out, [1, 1, 30, 32], test_acc=31)
    for activation in ("sigmoid", "relu"):
        runs = part4.configure("cnn_5", activation, **SETTINGS).replicate(2)
        for run, curve in zip(runs, ([3, 5, 1, 2], [2, 4, 3, 4]), strict=True):
            loss = [2, np.nan, np.nan, np.inf] if activation == "relu" else curve
            write_record(run, out, loss, test_acc=20, grad_curve=np.multiply(curve, 1e-3))
    unscaled = part4.configure("cnn_5", "relu", "unscaled", **SETTINGS)
    write_record(unscaled, out, [5000, 2, 2, 2], grad_curve=[1, 1, 1, 1])
    fast = part5.configure("mlp_2", "0.1", [0.1], **SETTINGS).replicate(2)
    for run, curve in zip(fast, ([10, 10, 40, 40], [30, 30, 20, 20]), strict=True):
        write_record(run, out, curve, test_acc=40)
    longer = SETTINGS | {"epochs": 3}
    for kind, rates, drops in (
        ("0.01", [0.01], []), ("0.01 long", [0.01], []), ("one drop", [0.1, 0.01], [1]),
        ("two drops", [0.1, 0.01, 0.001], [1, 2]), ("Adam", [0.001], []),
    ):  # fmt: skip
        config = part5.configure("mlp_2", kind, rates, drop_epochs=drops, **longer)
        write_record(config, out, [40, 40, 10, 10, 10, 20])
    return out


@pytest.fixture(scope="module")
def numbers(results):
    return summary.summarise(records.read_parts(results, summary.PARTS))


def test_part3_has_means_deviation_and_best_over_runs_and_the_last_epoch(numbers):
    assert numbers["part3"]["cnn_5"] == pytest.approx({
        "parameters": 8346, "epochs": 2, "runs": 2, "test_acc_mean": 52, "test_acc_best": 54,
        "test_acc_std": 8**0.5, "train_acc_final": 75, "val_acc_final": 55, "gap": 20, "seconds": 1,
    })  # fmt: skip
    assert np.isnan(numbers["part3"]["mlp_2"]["test_acc_std"])  # of a single run


def test_part4_has_the_first_points_and_the_last_epoch(numbers):
    row = numbers["part4"]["cnn_5"]
    assert row["sigmoid"] == pytest.approx({
        "epochs": 2, "runs": 2, "test_acc_mean": 20, "test_acc_std": 0, "test_acc_best": 20,
        "loss_first": 2.5, "loss_last": 2.5, "grad_first": 2.5e-3, "grad_last": 2.5e-3,
    })  # fmt: skip
    assert row["relu"]["loss_first"] == 2
    assert summary.without_nan(row["relu"])["loss_last"] is None  # not a number
    assert numbers["part4_unscaled"]["cnn_5"]["relu"]["loss_first"] == 5000


def test_part5_has_all_variants(numbers):
    variants = numbers["part5"]["mlp_2"]
    kinds = {name: row["kind"] for name, row in variants.items()}
    assert kinds == {
        "mlp_2_0.1": "0.1", "mlp_2_0.01": "0.01", "mlp_2_0.01_long": "0.01 long",
        "mlp_2_one_drop_1": "one drop", "mlp_2_two_drops_1_2": "two drops", "mlp_2_adam": "Adam",
    }  # fmt: skip
    assert variants["mlp_2_0.1"]["val_acc_final"] == 30  # of the mean of both runs
    dropped = variants["mlp_2_one_drop_1"]
    assert (dropped["drop_epochs"], dropped["epochs"], dropped["val_acc_final"]) == ([1], 3, 15)


def test_records_of_different_data_are_refused(tmp_path):
    write_record(part3.configure("mlp_2", **SETTINGS), tmp_path, [1, 1], "a" * 64)
    write_record(part4.configure("cnn_5", "relu", **SETTINGS), tmp_path, [1, 1], "b" * 64)
    with pytest.raises(UserError, match="other data"):
        records.read_parts(tmp_path, summary.PARTS)


def test_tables_have_the_numbers_in_order(numbers):
    lines = summary.markdown_tables(numbers).splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    assert [row for row in rows if row[0] not in ("---", "network", "training")] == [
        ["mlp_2", "35,498", "1", "31.00", "31.00", "0.0"],
        ["cnn_5", "8,346", "2", "52.00 ± 2.83", "54.00", "20.0"],
        ["cnn_5", "2.5e-03", "2.5e-03", "20.00 ± 0.00", "20.00 ± 0.00"],
        ["cnn_5, inputs 0 to 255", "1.0e+00", "–", "50.00", "–"],
        ["mlp_2, SGD 0.1", "2", "2", "30.0", "40.00 ± 0.00"],
        ["mlp_2, SGD 0.01", "1", "3", "15.0", "50.00"],
        ["mlp_2, SGD 0.01", "1", "3", "15.0", "50.00"],  # its epochs tell it apart
        ["mlp_2, SGD 0.1, 0.01 after epoch 1", "1", "3", "15.0", "50.00"],
        ["mlp_2, SGD 0.1, 0.01 after epoch 1, 0.001 after epoch 2", "1", "3", "15.0", "50.00"],
        ["mlp_2, Adam", "1", "3", "15.0", "50.00"],
        ["mlp_2, Adam in part 3", "1", "2", "31.0", "31.00"],
    ]


def test_script_writes_json_and_the_tables_between_the_markers(results, numbers, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"vor ä\n{summary.BEGIN}\nold\n{summary.END}\nafter\n", encoding="utf-8")
    done = call_script("report.summary", "--out", results, "--readme", readme)
    written = json.loads((results / "summary.json").read_text())
    assert written == summary.without_nan(numbers)
    tables = summary.markdown_tables(numbers)
    assert done.stdout == f"{tables}\n"
    text = f"vor ä\n{summary.BEGIN}\n{tables}\n{summary.END}\nafter\n"
    assert readme.read_text(encoding="utf-8") == text


def test_without_records_or_markers_a_line_says_so(results, tmp_path):
    assert_one_line(call_script("report.summary", "--out", tmp_path, status=1), 1, "no records")
    (tmp_path / "README.md").write_text("no markers")
    (results / "summary.json").unlink(missing_ok=True)
    arguments = ("--out", results, "--readme", tmp_path / "README.md")
    assert_one_line(call_script("report.summary", *arguments, status=1), 1, "markers")
    assert not (results / "summary.json").exists()


def test_committed_summary_and_tables_are_those_of_the_committed_records():
    numbers = summary.summarise(records.read_parts(REFERENCE, summary.PARTS))
    written = json.loads((REFERENCE / "summary.json").read_text())
    assert written == summary.without_nan(numbers)
    assert summary.markdown_tables(numbers) in (REFERENCE / "README.md").read_text("utf-8")
