"""A learning rate of a million: losses that are no numbers are recorded, reported and plotted."""

import json

import numpy as np
import pytest
from helpers_faults import run
from PIL import Image

from files import load_dictionary
from records import read_record

SMALL = ("--dataset", "synthetic", "--quick", "--threads", "1", "--out", "out")

# Runs a script, argument 1, whose constant, argument 2, is replaced by argument 3.
WITH_CONSTANT = """
import json, sys
from script import run
_, name, constant, value, *options = sys.argv
sys.argv = [name + ".py", *options]
module = __import__(name)
assert hasattr(module, constant)
setattr(module, constant, json.loads(value))
run(module.main)
"""


def train(folder, script, constant, value, *options):
    """What a script says that succeeds without a warning, and the records by their variants."""
    arguments = (script, constant, json.dumps(value), *SMALL, *options)
    done = run(("-c", WITH_CONSTANT), *arguments, cwd=folder)
    assert done.returncode == 0 and not done.stderr, done.stderr
    paths = folder.glob("out/runs/*/*/run_00.npz")
    return done.stdout, {path.parent.name: read_record(path) for path in paths}


def assert_lost(said, records, lost):
    """These trainings and no others lost their numbers, and one line says so of each."""
    for variant, record in records.items():
        assert np.isfinite(record["loss_curve"]).all() == (variant not in lost), variant
        assert 0 <= record.test_acc <= 100
        (line,) = (line for line in said.splitlines() if f" {variant} run_00 " in line)
        assert ("loss not finite from step " in line) == (variant in lost)
    assert said.count("not finite") == len(lost)


def assert_pictures(folder, *names):
    for name in names:
        with Image.open(folder / "out" / name) as image:
            assert np.asarray(image.convert("L")).std() > 10  # something is drawn
            assert image.width > 1000


def test_relu_is_lost_and_the_sigmoid_is_trained(tmp_path):
    said, records = train(
        tmp_path, "part4_activations", "LEARNING_RATE", 1e6, "--arch", "mlp_1", "--epochs", "1"
    )
    assert_lost(said, records, {"mlp_1_relu"})
    result = load_dictionary(tmp_path / "out" / "part4_mlp_1.pkl")
    assert np.isnan(result["relu_loss_curve"]).all() and np.isnan(result["relu_grad_curve"]).all()
    assert np.isfinite(result["sigmoid_loss_curve"]).all()
    assert_pictures(tmp_path, "part4.png")


@pytest.mark.slow
def test_runs_that_are_lost_do_not_stop_the_other_architectures(tmp_path):
    options = ("--epochs", "1", "--runs", "1")
    said, records = train(tmp_path, "part3_architectures", "LEARNING_RATE", 1e30, *options)
    lost = {name for name, r in records.items() if not np.isfinite(r["loss_curve"]).all()}
    assert len(records) == 5 and len(lost) >= 3, lost
    assert_lost(said, records, lost)
    weights = [f"part3_weights_{name}.png" for name in records]
    assert_pictures(tmp_path, "part3.png", "part3_spread.png")
    assert all((tmp_path / "out" / name).exists() for name in weights)


@pytest.mark.slow
def test_one_learning_rate_is_lost_with_its_schedules(tmp_path):
    changed = ("part5_learning_rate", "LEARNING_RATES", {"1": 1e6, "01": 0.01, "001": 0.001})
    said, records = train(tmp_path, *changed, "--arch", "mlp_2", "--epochs", "4")
    drops = {variant for variant in records if "drop" in variant}
    assert len(drops) == 2 and len(records) == 5
    assert_lost(said, records, drops | {"mlp_2_lr_1000000.0"})
    result = load_dictionary(tmp_path / "out" / "part5_mlp_2.pkl")
    assert np.isnan(result["loss_curve_1"]).all() and np.isfinite(result["loss_curve_01"]).all()
    assert_pictures(tmp_path, "part5_mlp_2.png", "part5_mlp_2_schedules.png")
    again, _ = train(tmp_path, *changed, "--arch", "mlp_2", "--epochs", "4")
    assert "not finite" not in again and "test accuracy" in again
