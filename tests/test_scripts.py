"""Every script end to end on synthetic data: files, dictionaries, figures."""

import pickle
import shutil

from experiments.records import load

import numpy as np
import pytest
from conftest import ROOT, TINY, call_script
from helpers_faults import assert_succeeds, run
from PIL import Image

NO_DATA = ("--data-dir", "/nowhere")
PART3, PART3_KEYS = (
    ("part3_architectures.py", *TINY, "--epochs", 2),
    {"name", "loss_curve", "train_acc_curve", "val_acc_curve", "test_acc", "weights"},
)
PART4, PART4_KEYS = (
    ("part4_activations.py", *TINY, "--epochs", 1),
    {"name"} | {f"{a}_{c}_curve" for a in ("relu", "sigmoid") for c in ("loss", "grad")},
)
PART5, PART5_KEYS = (
    ("part5_learning_rate.py", *TINY, "--epochs", 4, "--arch", "mlp_2"),
    {"name"} | {f"{c}_curve_{s}" for c in ("loss", "val_acc") for s in ("1", "01", "001")},
)
SCHEDULES = {"one_drop": "drop_??", "two_drops": "drop_??_??", "adam": "adam"}
SCHEDULES_KEYS = {"name", "drop_epochs"} | {
    f"{c}_{kind}" for c in ("val_acc_curve", "test_acc") for kind in SCHEDULES
}


def dictionary(path, keys, points):
    """The dictionary in a file, which has these keys and plain curves of so many points."""
    result = pickle.loads(path.read_bytes())
    assert set(result) == keys
    assert result["name"].endswith(" (synthetic, quick)")
    for key, value in result.items():
        if "_curve" in key:
            assert type(value) is list
            assert len(value) == points
            assert all(type(element) is float for element in value)
    return result


def recorded(out, pattern):
    """The records whose paths match, in order."""
    return [load(path) for path in sorted(out.glob(f"runs/{pattern}.npz"))]


def assert_figures(folder, *names):
    for name in names:
        with Image.open(folder / f"{name}.png") as image:
            image.verify()


@pytest.mark.parametrize(("name", "shape"), [("mlp_2", (32, 1024)), ("cnn_5", (8, 1, 3, 3))])
def test_part3(name, shape, tiny_results):
    result = dictionary(tiny_results / f"part3_{name}.pkl", PART3_KEYS, points=6)
    assert result["name"] == f"{name} (synthetic, quick)"
    assert type(result["test_acc"]) is float
    assert type(result["weights"]) is np.ndarray
    assert result["weights"].shape == shape
    first, second = runs = recorded(tiny_results, f"part3/{name}/run_0[01]")
    best = max(runs, key=lambda record: record.test_acc)
    assert result["test_acc"] == best.test_acc
    np.testing.assert_array_equal(result["weights"], best["weights"])
    for curve in ("loss_curve", "train_acc_curve", "val_acc_curve"):
        mean = (first[curve].astype(float) + second[curve]) / 2
        np.testing.assert_allclose(result[curve], mean)
    assert_figures(tiny_results, "part3", "part3_spread", f"part3_weights_{name}")


def test_part4(tiny_results):
    result = dictionary(tiny_results / "part4_cnn_5.pkl", PART4_KEYS, points=3)
    assert max(result["sigmoid_grad_curve"]) < min(result["relu_grad_curve"])
    assert_figures(tiny_results, "part4")


def test_part5(tiny_results):
    dictionary(tiny_results / "part5_mlp_2.pkl", PART5_KEYS, points=12)
    schedules = dictionary(tiny_results / "part5_mlp_2_schedules.pkl", SCHEDULES_KEYS, points=18)
    assert_figures(tiny_results, *(f"part5_mlp_2{end}" for end in ("", "_spread", "_schedules")))
    (two_drops,) = recorded(tiny_results, "part5/mlp_2_drop_??_??/run_00")
    first, second = two_drops.config["drop_epochs"]
    assert schedules["drop_epochs"] == [first, second]
    assert two_drops.path.parent.name == f"mlp_2_drop_{first:02d}_{second:02d}"
    assert two_drops.config["learning_rates"] == [0.1, 0.01, 0.001]
    (one_drop,) = recorded(tiny_results, f"part5/mlp_2_drop_{first:02d}/run_00")
    (constant,) = recorded(tiny_results, "part5/mlp_2_lr_0.1/run_00")
    same = 3 * first  # until the first drop it is the same run, bit for bit
    np.testing.assert_array_equal(one_drop["loss_curve"][:same], constant["loss_curve"][:same])
    (adam,) = recorded(tiny_results, "part5/mlp_2_adam/run_00")
    assert (adam.config["optimizer"], adam.config["learning_rates"]) == ("Adam", [0.001])
    assert {r.config["epochs"] for r in (one_drop, two_drops, adam)} == {6}


def test_more_runs_leave_the_first_ones_curves_in_the_dictionaries(tiny_results, tmp_path):
    """Parts 4 and 5 are not averaged, and all runs drop at the epochs read off the first one."""
    out = tmp_path / "out"
    shutil.copytree(tiny_results, out)
    variants = {path.parent for path in out.glob("runs/part[45]/*/run_00.npz")}
    done = call_script(*PART4, "--arch", "cnn_5", "--runs", 2, "--out", out)
    assert "part4_spread.png" in done.stdout
    call_script(*PART5, "--runs", 2, "--out", out)
    assert {path.parent for path in out.glob("runs/part[45]/*/run_01.npz")} == variants

    unscaled = (*PART4, "--arch", "cnn_5", "--unscaled", "--out", out)
    call_script(*unscaled, "--runs", 2)
    (out / "part4_unscaled_spread.png").unlink()
    call_script(*unscaled, "--plot-only")  # all that is recorded counts
    assert (out / "part4_unscaled_spread.png").exists()
    shutil.rmtree(out / "runs/part4_unscaled/cnn_5_sigmoid")
    before = (out / "part4_unscaled.png").read_bytes()
    done = call_script(*PART4, "--unscaled", "--out", out, "--plot-only", status=1)
    assert "no network is recorded with both activations yet" in done.stderr
    assert (out / "part4_unscaled.png").read_bytes() == before

    for name in ("part4_cnn_5", "part5_mlp_2", "part5_mlp_2_schedules"):
        assert (out / f"{name}.pkl").read_bytes() == (tiny_results / f"{name}.pkl").read_bytes()


def test_part5_takes_epochs_by_hand_and_compares_with_adam(tiny_results, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(tiny_results, out)
    command = (*PART5, "--out", out, "--drop-epochs", 2, 3)
    shown = call_script(*command).stdout
    for kind in ("one drop", "two drops", "Adam"):
        assert f"\n{kind}: test accuracy" in shown
    assert "(2 runs)" in shown.split("Adam in part 3: test accuracy")[1]
    assert len(recorded(out, "part5/mlp_2_drop_02_03/run_00")) == 1
    shutil.rmtree(out / "runs" / "part3")
    assert "\nAdam in part 3: test accuracy not recorded\n" in call_script(*command).stdout


@pytest.mark.parametrize("command", [("part2_conv.py",), PART3, PART4, PART5])
def test_figures_are_made_again_from_the_records_alone(command, tiny_results, tmp_path):
    """In a process of its own, without data."""
    part, out = command[0].split("_")[0], tmp_path / "out"
    shutil.copytree(tiny_results, out)
    for figure in out.glob("*.png"):
        figure.unlink()
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    no_data = NO_DATA if len(command) > 1 else ()
    done = run(*command, *no_data, "--out", out, "--plot-only", cwd=tmp_path)
    assert_succeeds(done)
    made = {path.name for path in out.glob(f"{part}*.png")}
    drawn = {path.name for path in tiny_results.glob(f"{part}*.png")}
    assert made == drawn - {"part2_kernels.png"}  # the input of part 2 is not recorded
    assert all(str(out / name) in done.stdout for name in made)
    assert {path: path.read_bytes() for path in before} == before


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
RUN_ALL = """
import runpy, sys
for line in sys.argv[1:]:
    sys.argv = line.split()
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_courses_own_utils_can_take_the_place_of_ours(tiny_results, tmp_path):
    """With a file that has the course's signatures and nothing else."""
    for source in ROOT.glob("*.py"):
        shutil.copy(source, tmp_path)
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    (tmp_path / "utils.py").write_text(COURSE_UTILS)
    shutil.copytree(tiny_results, tmp_path / "out")
    lines = (
        " ".join(map(str, (*command, "--plot-only", "--out", "out")))
        for command in (("part2_conv.py",), PART3, PART4, PART5)
    )
    assert_succeeds(run(("-c", RUN_ALL), *lines, cwd=tmp_path))
    for figure in ("part2", "part3", "part3_weights_cnn_5", "part4", "part5_mlp_2"):
        assert (tmp_path / "out" / f"{figure}.png").read_bytes() == b""
