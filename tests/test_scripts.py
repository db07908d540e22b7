"""Every script end to end, in a process of its own, on synthetic data."""

import pickle
import shutil

import numpy as np
import pytest
from conftest import ROOT, TINY, run_script
from PIL import Image

from records import read_record

NO_DATA = ("--data-dir", "/nowhere")
PART3_KEYS = {"name", "loss_curve", "train_acc_curve", "val_acc_curve", "test_acc", "weights"}
PART4_KEYS = {
    "name", "relu_loss_curve", "sigmoid_loss_curve", "relu_grad_curve", "sigmoid_grad_curve",
}  # fmt: skip
PART5_KEYS = {"name"} | {f"{c}_curve_{s}" for c in ("loss", "val_acc") for s in ("1", "01", "001")}


def load(path):
    return pickle.loads(path.read_bytes())


def assert_plain_curves(result, points):
    for key, value in result.items():
        if key.endswith("curve") or "_curve_" in key:
            assert type(value) is list
            assert len(value) == points
            assert all(type(element) is float for element in value)


def assert_figures(folder, *names):
    for name in names:
        with Image.open(folder / f"{name}.png") as image:
            image.verify()


def test_part2(tmp_path):
    done = run_script("part2_conv.py", "--out", tmp_path)
    assert "built-in digits" in done.stdout
    assert "largest difference from torch.conv2d" in done.stdout
    assert np.load(tmp_path / "part2_out.npy").shape == (5, 8, 25, 25)
    assert_figures(tmp_path, "part2")


def test_part2_with_files(tmp_path):
    np.save(tmp_path / "images.npy", np.ones((2, 3, 6, 6), np.uint8))
    np.save(tmp_path / "bank.npy", np.ones((4, 3, 2, 2)))
    files = ("--samples", tmp_path / "images.npy", "--kernel", tmp_path / "bank.npy")
    done = run_script("part2_conv.py", *files, "--out", tmp_path)
    assert "built-in" not in done.stdout
    assert (np.load(tmp_path / "part2_out.npy") == 12).all()


def test_part3(tiny_results):
    for name, shape in (("mlp_2", (32, 1024)), ("cnn_5", (8, 1, 3, 3))):
        result = load(tiny_results / f"part3_{name}.pkl")
        assert set(result) == PART3_KEYS
        assert result["name"] == f"{name} (synthetic, quick)"
        assert_plain_curves(result, points=6)
        assert type(result["test_acc"]) is float
        assert type(result["weights"]) is np.ndarray
        assert result["weights"].shape == shape
        paths = sorted((tiny_results / "runs" / "part3" / name).iterdir())
        assert [path.name for path in paths] == ["run_00.npz", "run_01.npz"]
        records = [read_record(path) for path in paths]
        best = max(records, key=lambda record: record.test_acc)
        assert result["test_acc"] == best.test_acc
        np.testing.assert_array_equal(result["weights"], best["weights"])
        mean = (records[0]["val_acc_curve"].astype(float) + records[1]["val_acc_curve"]) / 2
        np.testing.assert_allclose(result["val_acc_curve"], mean)
    assert_figures(tiny_results, "part3", "part3_spread")
    assert_figures(tiny_results, "part3_weights_mlp_2", "part3_weights_cnn_5")


def test_part4(tiny_results):
    result = load(tiny_results / "part4_cnn_5.pkl")
    assert set(result) == PART4_KEYS
    assert_plain_curves(result, points=3)
    records = [
        read_record(tiny_results / "runs" / "part4" / f"cnn_5_{activation}" / "run_00.npz")
        for activation in ("relu", "sigmoid")
    ]
    for record, activation in zip(records, ("ReLU", "Sigmoid"), strict=True):
        assert record.config["activation"] == activation
        assert record.config["split_seed"] is None
        assert record.config["optimizer"] == "SGD"
        assert record.config["learning_rates"] == [0.01]
    np.testing.assert_allclose(result["relu_grad_curve"], records[0]["grad_curve"])
    np.testing.assert_allclose(result["sigmoid_grad_curve"], records[1]["grad_curve"])
    assert max(result["sigmoid_grad_curve"]) < min(result["relu_grad_curve"])
    assert_figures(tiny_results, "part4")


def test_part5(tiny_results):
    result = load(tiny_results / "part5_mlp_2.pkl")
    assert set(result) == PART5_KEYS
    assert_plain_curves(result, points=12)
    assert_figures(tiny_results, "part5_mlp_2", "part5_mlp_2_schedules")
    folder = tiny_results / "runs" / "part5"
    (two_drops,) = folder.glob("mlp_2_drop_??_??")
    record = read_record(two_drops / "run_00.npz")
    assert record.config["learning_rates"] == [0.1, 0.01, 0.001]
    first, second = record.config["drop_epochs"]
    assert two_drops.name == f"mlp_2_drop_{first:02d}_{second:02d}"
    assert record.config["epochs"] == 6
    one_drop = read_record(folder / f"mlp_2_drop_{first:02d}" / "run_00.npz")
    constant = read_record(folder / "mlp_2_lr_0.1" / "run_00.npz")
    same = 3 * first  # until the first drop it is the same training, bit for bit
    np.testing.assert_array_equal(one_drop["loss_curve"][:same], constant["loss_curve"][:same])
    assert len(one_drop["val_acc_curve"]) == 18


def test_part5_takes_epochs_by_hand_and_compares_with_adam(tiny_results, tmp_path):
    shutil.copytree(tiny_results, tmp_path / "out")
    arguments = (*TINY, "--epochs", 4, "--arch", "mlp_2", "--out", tmp_path / "out")
    done = run_script("part5_learning_rate.py", *arguments, "--drop-epochs", 2, 3)
    assert "Adam in part 3: test accuracy" in done.stdout
    assert "(2 runs)" in done.stdout
    assert (tmp_path / "out" / "runs" / "part5" / "mlp_2_drop_02_03" / "run_00.npz").exists()
    shutil.rmtree(tmp_path / "out" / "runs" / "part3")
    done = run_script("part5_learning_rate.py", *arguments, "--drop-epochs", 2, 3)
    assert "run part3_architectures.py" in done.stdout


def test_part5_reads_the_drops_off_the_first_of_several_repetitions(tiny_results, tmp_path):
    shutil.copytree(tiny_results / "runs" / "part5", tmp_path / "runs" / "part5")
    schedules = sorted(path.name for path in (tmp_path / "runs" / "part5").iterdir())
    arguments = (*TINY, "--epochs", 4, "--arch", "mlp_2", "--out", tmp_path)
    run_script("part5_learning_rate.py", *arguments, "--runs", 2)
    paths = sorted((tmp_path / "runs" / "part5").glob("*/run_01.npz"))
    assert [path.parent.name for path in paths] == schedules


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("part2_conv.py", ()),
        ("part3_architectures.py", (*TINY, "--epochs", 2, *NO_DATA)),
        ("part4_activations.py", (*TINY, "--epochs", 1, *NO_DATA)),
        ("part5_learning_rate.py", (*TINY, "--epochs", 4, "--arch", "mlp_2", *NO_DATA)),
    ],
)
def test_figures_are_made_again_from_the_records_alone(script, arguments, tiny_results, tmp_path):
    part = script.split("_")[0]
    out = tmp_path / "out"
    shutil.copytree(tiny_results, out)
    for figure in out.glob("*.png"):
        figure.unlink()
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    run_script(script, *arguments, "--out", out, "--plot-only")
    made = {path.name for path in out.glob(f"{part}*.png")}
    assert made == {path.name for path in tiny_results.glob(f"{part}*.png")}
    assert {path: path.read_bytes() for path in before} == before


def test_without_training_nothing_needs_the_data(tiny_results):
    """A finished plan is found finished, and its dictionary stays what it is."""
    before = (tiny_results / "part3_cnn_5.pkl").read_bytes()
    arguments = (*TINY, "--epochs", 2, "--arch", "cnn_5", "--out", tiny_results)
    done = run_script("part3_architectures.py", *arguments, *NO_DATA)
    assert "run_00" not in done.stdout
    assert (tiny_results / "part3_cnn_5.pkl").read_bytes() == before


COURSE_UTILS = """
import os
def save(save_dir, filename):
    open(os.path.join(save_dir, filename + ".png"), "w").close()
def part2Plots(out, nmax=64, save_dir='', filename=''):
    save(save_dir, filename)
def part3Plots(results, save_dir='', filename='', show_plot=True):
    save(save_dir, filename)
part4Plots = part5Plots = part3Plots
def visualizeWeights(weights, save_dir, filename='weigths'):
    save(save_dir, filename)
"""


def test_the_courses_own_utils_can_take_the_place_of_ours(tiny_results, tmp_path):
    """With a file that has the course's signatures and nothing else."""
    for source in ROOT.glob("*.py"):
        shutil.copy(source, tmp_path)
    (tmp_path / "utils.py").write_text(COURSE_UTILS)
    shutil.copytree(tiny_results, tmp_path / "out")
    for script, arguments in (
        ("part2_conv.py", ()),
        ("part3_architectures.py", (*TINY, "--epochs", 2)),
        ("part4_activations.py", (*TINY, "--epochs", 1)),
        ("part5_learning_rate.py", (*TINY, "--epochs", 4, "--arch", "mlp_2")),
    ):
        run_script(tmp_path / script, *arguments, "--plot-only", "--out", tmp_path / "out")
    assert (tmp_path / "out" / "part5_mlp_2.png").read_bytes() == b""
