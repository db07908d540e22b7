import json
import shutil

import numpy as np
import pytest
from conftest import ROOT, run_script

import summary
from part5_learning_rate import ARCHITECTURE
from records import read_record
from tables import markdown_tables


def test_numbers_are_those_of_the_records(tiny_results):
    row = summary.summarise(tiny_results)["part3"]["cnn_5"]
    paths = sorted((tiny_results / "runs" / "part3" / "cnn_5").iterdir())
    records = [read_record(path) for path in paths]
    first, second = (record.test_acc for record in records)
    assert row["runs"] == 2
    assert row["parameters"] == 8346
    assert row["test_acc_mean"] == pytest.approx((first + second) / 2)
    assert row["test_acc_std"] == pytest.approx(abs(first - second) / np.sqrt(2))
    assert row["test_acc_best"] == max(first, second)
    last_epoch = [record["val_acc_curve"][3:].mean() for record in records]  # 2 epochs, 6 points
    assert row["val_acc_final"] == pytest.approx(np.mean(last_epoch))
    assert row["gap"] == pytest.approx(row["train_acc_final"] - row["val_acc_final"])


def test_part4_has_first_and_last_values(tiny_results):
    row = summary.summarise(tiny_results)["part4"]["cnn_5"]["sigmoid"]
    record = read_record(tiny_results / "runs" / "part4" / "cnn_5_sigmoid" / "run_00.npz")
    assert row["loss_first"] == pytest.approx(record["loss_curve"][0])
    assert row["grad_first"] == pytest.approx(record["grad_curve"][0])
    assert row["grad_last"] == pytest.approx(record["grad_curve"].mean())
    assert row["test_acc_std"] is None


def test_part5_has_the_schedules_and_adam(tiny_results):
    row = summary.summarise(tiny_results)["part5"]["mlp_2"]
    constant = {key for key in row["trainings"] if key.startswith("lr_")}
    assert constant == {"lr_0.1", "lr_0.01", "lr_0.001"}
    drops = sorted(len(t["drop_epochs"]) for t in row["trainings"].values())
    assert drops == [0, 0, 0, 1, 2]
    assert row["adam"] == summary.summarise(tiny_results)["part3"]["mlp_2"]


def test_script_writes_json_and_the_readme_tables(tiny_results, tmp_path):
    shutil.copytree(tiny_results, tmp_path / "out")
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{summary.BEGIN}\nold\n{summary.END}\nafter\n")
    done = run_script("summary.py", "--out", tmp_path / "out", "--readme", readme)
    numbers = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert numbers == summary.summarise(tiny_results)
    assert markdown_tables(numbers) in done.stdout
    text = f"before\n{summary.BEGIN}\n{markdown_tables(numbers)}\n{summary.END}\nafter\n"
    assert readme.read_text() == text


def test_without_records_or_markers_it_says_so(tiny_results, tmp_path):
    done = run_script("summary.py", "--out", tmp_path, status=1)
    assert "no records" in done.stderr
    (tmp_path / "README.md").write_text("no markers")
    shutil.copytree(tiny_results, tmp_path / "out")
    arguments = ("--out", tmp_path / "out", "--readme", tmp_path / "README.md")
    assert "markers" in run_script("summary.py", *arguments, status=1).stderr
    assert not (tmp_path / "out" / "summary.json").exists()


def test_committed_summary_and_readme_are_those_of_the_committed_records():
    numbers = summary.summarise(ROOT / "results")
    assert json.loads((ROOT / "results" / "summary.json").read_text()) == numbers
    assert markdown_tables(numbers) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_part5_uses_the_architecture_best_in_validation():
    """Validation, not test: the choice must not see the test set."""
    rows = summary.summarise_part3(ROOT / "results")
    if len(rows) < 5:
        pytest.skip("part 3 is not finished in results")
    candidates = [name for name in rows if name != "mlp_1"]
    assert max(candidates, key=lambda name: rows[name]["val_acc_final"]) == ARCHITECTURE
