"""Parts 3 to 5 from options to dictionaries and figures, and scripts that are changed."""

import pickle
import shutil

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import TRAINING_SCRIPTS, call_script
from helpers_records import few_images, record
from torch import nn

import data
import models
import part3_architectures as part3
import part4_activations as part4
import part5_learning_rate as part5
from experiments import records
from experiments.aggregate import plateau_epoch

PART3, PART4, PART5 = TRAINING_SCRIPTS
SMALL = ("--dataset", "synthetic", "--quick", "--batch-size", 15)  # 30 steps an epoch, 34 in part 4


@pytest.fixture(scope="module", autouse=True)
def few_steps():
    with pytest.MonkeyPatch.context() as patch:
        few_images(patch)
        yield


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder with small results, of two runs each."""
    out = tmp_path_factory.mktemp("results")
    small = (*SMALL, "--runs", 2, "--out", out)
    call_script(PART3, *small, "--epochs", 2, "--arch", "mlp_2", "cnn_5")
    call_script(PART4, *small, "--epochs", 1, "--arch", "cnn_5")
    call_script(PART5, *small, "--epochs", 4, "--arch", "mlp_2")
    return out


@pytest.fixture
def copied(results, tmp_path):
    return shutil.copytree(results, tmp_path / "out")


def dictionary(path, keys, points):
    """The dictionary in a file, which has these keys and plain curves of so many points."""
    content = path.read_bytes()
    assert b"numpy._core" not in content  # which only NumPy 2 knows
    result = pickle.loads(content)
    assert set(result) == set(keys.split())
    for key, value in result.items():
        if "_curve" in key:
            assert len(value) == points
            assert {type(element) for element in value} == {float}
    return result


def first_run(out, part, variant):
    return records.load(out / "runs" / part / variant / "run_00.npz")


# ---- What each script makes


@pytest.mark.parametrize(("name", "shape"), [("mlp_2", (32, 1024)), ("cnn_5", (8, 1, 3, 3))])
def test_part3_has_averages_and_the_best_run(name, shape, results):
    keys = "name loss_curve train_acc_curve val_acc_curve test_acc weights"
    result = dictionary(results / f"part3_{name}.pkl", keys, points=6)
    assert result["name"] == f"{name} (synthetic, quick)"
    assert type(result["test_acc"]) is float
    assert type(result["weights"]) is np.ndarray
    assert result["weights"].shape == shape
    expected = part3.average(result["name"], records.read(results, "part3")[name])
    np.testing.assert_equal(result, expected)


def test_part3_averages_the_curves_and_takes_the_best_runs_weights():
    runs = [
        record(acc, weights=[acc], loss_curve=[k, 1], train_acc_curve=[k, 2], val_acc_curve=[k, 3])
        for k, acc in enumerate((50, 60, 55))
    ]
    assert part3.average("net", runs) == {
        "name": "net", "loss_curve": [1, 1], "train_acc_curve": [1, 2], "val_acc_curve": [1, 3],
        "test_acc": 60, "weights": [60],
    }  # fmt: skip


def test_part4_has_the_first_runs_curves_of_each_activation(results):
    keys = "name relu_loss_curve sigmoid_loss_curve relu_grad_curve sigmoid_grad_curve"
    result = dictionary(results / "part4_cnn_5.pkl", keys, points=3)
    for activation, name in (("relu", "ReLU"), ("sigmoid", "Sigmoid")):
        record = first_run(results, "part4", f"cnn_5_{activation}")
        assert record.config["activation"] == name
        for curve in ("loss_curve", "grad_curve"):
            assert result[f"{activation}_{curve}"] == record[curve].tolist()


def test_part5_has_constant_rates_and_schedules_read_off_the_first_run(results):
    keys = "loss_curve_1 loss_curve_01 loss_curve_001 val_acc_curve_1 val_acc_curve_01"
    result = dictionary(results / "part5_mlp_2.pkl", f"name {keys} val_acc_curve_001", points=12)
    for rate in ("0.1", "0.01", "0.001"):
        record = first_run(results, "part5", f"mlp_2_{rate}")
        assert record.config["learning_rates"] == [float(rate)]
        for curve in ("loss_curve", "val_acc_curve"):
            assert result[f"{curve}_{rate[2:]}"] == record[curve].tolist()

    keys = "val_acc_curve_one_drop val_acc_curve_two_drops val_acc_curve_adam"
    keys += " test_acc_one_drop test_acc_two_drops test_acc_adam name drop_epochs"
    schedules = dictionary(results / "part5_mlp_2_schedules.pkl", keys, points=18)
    a, b = schedules["drop_epochs"]
    assert a == plateau_epoch(result["val_acc_curve_1"], 4)
    assert b == plateau_epoch(schedules["val_acc_curve_one_drop"], 6, after=a)
    kinds = {"one_drop": f"one_drop_{a}", "two_drops": f"two_drops_{a}_{b}", "adam": "adam"}
    runs = {kind: first_run(results, "part5", f"mlp_2_{name}") for kind, name in kinds.items()}
    for kind, record in runs.items():
        assert schedules[f"val_acc_curve_{kind}"] == record["val_acc_curve"].tolist()
        assert schedules[f"test_acc_{kind}"] == record.test_acc
    assert len(records.read(results, "part5")) == 4 + 2
    assert runs["two_drops"].config["drop_epochs"] == [a, b]
    assert runs["two_drops"].config["learning_rates"] == [0.1, 0.01, 0.001]
    assert runs["adam"].config["optimizer"] == "Adam"
    same = 3 * a  # until the first drop it is the same run, bit for bit
    assert schedules["val_acc_curve_one_drop"][:same] == result["val_acc_curve_1"][:same]


def test_figures_are_made_again_from_what_is_recorded_whatever_the_options_were(copied, tmp_path):
    """Also part 5 with drops by hand, and without data."""
    drawn = {path.name for path in copied.glob("*.png")}
    drops = ("--drop-epochs", 2, 3)
    said = call_script(PART5, *SMALL, "--epochs", 4, "--arch", "mlp_2", *drops, "--out", copied)
    assert "(2 runs)" in said.stdout.partition("Adam in part 3: ")[2]
    for path in copied.glob("runs/part5/*_drop*"):
        if not path.name.endswith(("_drop_2", "_drops_2_3")):
            shutil.rmtree(path)
    for path in copied.glob("*.png"):
        path.unlink()
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    for script in TRAINING_SCRIPTS:
        arguments = ("--data-dir", "nowhere", "--plot-only", "--out", copied)
        assert not call_script(script, *arguments, cwd=tmp_path).stderr
    assert {path.name for path in copied.glob("*.png")} == drawn
    assert {path: path.read_bytes() for path in before} == before


def test_an_activation_that_is_not_recorded_leaves_its_network_out(copied):
    shutil.rmtree(copied / "runs/part4/cnn_5_sigmoid")
    before = (copied / "part4.png").read_bytes()
    done = call_script(PART4, "--out", copied, "--plot-only", status=1)
    assert "relu and sigmoid" in done.stderr
    assert (copied / "part4.png").read_bytes() == before


# ---- Scripts that are changed, as "Change the experiments" says


@pytest.fixture
def figures(monkeypatch):
    """Draw a script's figures and leave them open: a function that returns them by their titles."""
    close = plt.close
    monkeypatch.setattr(plt, "close", lambda figure: None)
    yield lambda: {
        panel.get_title(): panel for n in plt.get_fignums() for panel in plt.figure(n).axes
    }
    close("all")


def assert_axis(panel, epochs):
    """The curves end where the axis says that the last epoch ends."""
    assert panel.get_xlabel() == "epoch"
    assert {max(line.get_xdata()) for line in panel.lines if len(line.get_xdata()) > 2} == {epochs}


def cnn_6(act):
    return nn.Sequential(
        nn.Conv2d(1, 8, 5), act(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(8 * 7 * 7, 10)
    )


def test_part3_with_a_sixth_architecture_and_a_point_every_5_steps(tmp_path, monkeypatch, figures):
    monkeypatch.setitem(models.ARCHITECTURES, "cnn_6", cnn_6)
    monkeypatch.setattr(part3, "RECORD_EVERY", 5)
    call_script(PART3, *SMALL, "--epochs", 2, "--runs", 1, "--arch", "cnn_6", "--out", tmp_path)
    config = part3.configure("cnn_6", 2, 15, dataset="synthetic", quick=True)
    sha256 = data.sha256(data.read("synthetic", "", quick=True))
    assert records.find(config, tmp_path, sha256)  # and so it is not trained again
    result = pickle.loads((tmp_path / "part3_cnn_6.pkl").read_bytes())
    assert result["weights"].shape == (8, 1, 5, 5)
    assert (len(result["loss_curve"]), "epochs" in result) == (12, False)
    assert (tmp_path / "part3_weights_cnn_6.png").exists()
    assert_axis(figures()["training loss"], 2)


def test_part4_with_six_architectures_and_a_third_activation(tmp_path, monkeypatch, figures):
    mlps = dict.fromkeys(("mlp_1", "mlp_2", "mlp_3", "mlp_4", "mlp_5"), models.mlp_1)
    monkeypatch.setattr(part4, "ARCHITECTURES", mlps | {"cnn_6": cnn_6})
    monkeypatch.setattr(models, "ARCHITECTURES", part4.ARCHITECTURES)
    monkeypatch.setitem(part4.ACTIVATIONS, "tanh", "Tanh")
    small = (*SMALL, "--epochs", 1, "--out", tmp_path)
    call_script(PART4, *small)
    for name in part4.ARCHITECTURES:
        result = pickle.loads((tmp_path / f"part4_{name}.pkl").read_bytes())
        assert len(result) == 1 + 2 * 3
        record = first_run(tmp_path, "part4", f"{name}_tanh")
        assert record.config["activation"] == "Tanh"
        assert result["tanh_grad_curve"] == record["grad_curve"].tolist()
    assert len(figures()["gradient magnitude of the first layer, tanh"].lines) >= 6
    done = call_script(PART4, *small, "--initialized", status=1)  # which one, for tanh?
    assert "INITIALIZATIONS" in done.stderr
    assert "tanh" in done.stderr
    monkeypatch.setitem(part4.ACTIVATIONS, "tan", "Tan")
    assert "'Tan'" in call_script(PART4, *small, status=1).stderr


def test_part5_with_other_rates(tmp_path, monkeypatch, figures):
    monkeypatch.setattr(part5, "LEARNING_RATES", (0.05, 0.01, 0.00001))
    monkeypatch.setattr(part5, "SCHEDULE", (1, 0.1, 0.01))
    monkeypatch.setattr(part5, "RECORD_EVERY", 5)
    small = ("--arch", "mlp_2", "--drop-epochs", 2, 8, "--out", tmp_path)
    call_script(PART5, *SMALL, *small, "--epochs", 6)
    result = pickle.loads((tmp_path / "part5_mlp_2.pkl").read_bytes())
    for digits in ("05", "01", "00001"):
        record = first_run(tmp_path, "part5", f"mlp_2_{float(f'0.{digits}')}")
        assert result[f"loss_curve_{digits}"] == record["loss_curve"].tolist()
    panel = figures()["training loss of mlp_2 (synthetic, quick)"]
    assert_axis(panel, 6)
    labels = [text.get_text() for text in panel.figure.legends[0].get_texts()]
    assert labels == [f"learning rate 0.{digits}" for digits in ("05", "01", "00001")]
    call_script(PART5, *SMALL, *small, "--plot-only")  # drops that runs of 4 epochs would not have


def test_an_optimizer_that_there_cannot_be_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(part3, "new_optimizer", lambda p: torch.optim.RMSprop(p, fused=True))
    done = call_script(PART3, *SMALL, "--out", tmp_path, status=1)
    (line,) = done.stderr.splitlines()
    assert "fused" in line
    assert not (tmp_path / "runs").exists()
