"""Records: what they hold, when they are found, refused or trained again."""

import json
import shutil

import numpy as np
import pytest
import torch
from helpers_records import few_images, options, write_record
from torch import nn

import data
import models
import part3_architectures as part3
from experiments import records
from experiments.aggregate import label
from experiments.records import DamagedRecord
from experiments.runner import train_missing
from experiments.storage import UserError

FIRST, SECOND = (f"runs/part3/mlp_1/run_0{k}.npz" for k in (0, 1))


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """An epoch is 10 steps of 45 images."""
    few_images(monkeypatch)


def train(out, train_run=part3.train_run, **changes):
    opts = options(out, **{"runs": 2, "seed": 5, "batch_size": 45} | changes)
    return train_missing(
        [part3.configure(name, **opts.settings()) for name in opts.arch], train_run, opts
    )


def must_not_train(*_):
    raise AssertionError("trained")


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rewrite(path, changes):
    """Write a record again. None takes away an array, or an entry of the definition."""
    with np.load(path) as file:
        arrays = dict(file)
    definition = json.loads(str(arrays["config"])) | changes.get("config", {})
    definition = {name: value for name, value in definition.items() if value is not None}
    arrays |= changes | {"config": np.array(json.dumps(definition))}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


@pytest.fixture
def recorded(tmp_path):
    """A folder with two recorded runs."""
    train(tmp_path)
    return tmp_path


# ---- What a record holds, and when there is one


def test_a_record_holds_curves_result_definition_and_environment(recorded):
    record = records.load(recorded / SECOND)
    curves = ("loss_curve", "train_acc_curve", "val_acc_curve")
    assert set(record.arrays) == {*curves, "test_acc", "weights"}
    assert all(record[curve].shape == (1,) for curve in curves)
    assert {array.dtype for array in record.arrays.values()} == {np.dtype(np.float32)}
    assert record["weights"].shape == (32, 1024)
    assert 0 <= record.test_acc <= 100
    assert record.config == {
        "part": "part3", "architecture": "mlp_1", "activation": "ReLU", "optimizer": "Adam",
        "learning_rates": [0.001], "drop_epochs": [], "epochs": 1, "batch_size": 45, "seed": 6,
        "split_seed": 449, "pixel_range": [-1.0, 1.0], "record_every": 10, "dataset": "synthetic",
        "quick": True, "initialization": "default", "layers": record.config["layers"],
        "data_sha256": data.sha256(data.read("synthetic", "", quick=True)),
    }  # fmt: skip
    assert [layer.partition("(")[0] for layer in record.config["layers"]] == [
        "Flatten", "Linear", "ReLU", "Linear",
    ]  # fmt: skip
    assert set(record.environment) == {"torch", "device", "cpu_capability", "threads", "seconds"}


def test_as_many_runs_are_used_as_are_asked_for_and_none_is_trained_twice(recorded):
    first = records.load(recorded / FIRST)
    (found,) = train(recorded, must_not_train, runs=1)["mlp_1"]
    assert (found.path, found.config) == (first.path, first.config)
    assert len(train(recorded, runs=3)["mlp_1"]) == 3
    assert len(train(recorded, must_not_train)["mlp_1"]) == 2
    assert len(train(recorded, must_not_train, runs=1, plot_only=True)["mlp_1"]) == 3


# ---- Another definition: refused, and left as it is


def wide(act):
    return nn.Sequential(nn.Flatten(), nn.Linear(1024, 64), act(), nn.Linear(64, 10))


CHANGES = {  # of an option, or of the code, and what it is in the definition
    "seed": ({"seed": 9}, (), "seed", 9),
    "batch size": ({"batch_size": 15}, (), "batch_size", 15),
    "quick": ({"quick": False}, (), "quick", False),
    "64 units": ({}, (models.ARCHITECTURES, "mlp_1", wide), "layers", "=64"),
    "RMSprop": ({}, (part3, "new_optimizer", torch.optim.RMSprop), "optimizer", "RMSprop"),
    "points": ({}, (part3, "RECORD_EVERY", 5), "record_every", 5),
    "data": ({}, (data, "NOISE", 20.0), "data_sha256", ""),
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_definition_is_refused_before_training(name, recorded, tmp_path, monkeypatch):
    """Also when no run is missing. It names what differs and the way out, which works."""
    options, code, key, now = CHANGES[name]
    if code:
        where, *what = code
        (monkeypatch.setitem if isinstance(where, dict) else monkeypatch.setattr)(where, *what)
    for path in (recorded / SECOND, recorded / FIRST):
        before = contents(recorded)
        with pytest.raises(
            UserError, match=rf"/run_0\d\.npz: .*another definition: {key}"
        ) as caught:
            train(recorded, must_not_train, **options)
        assert f"{now}" in str(caught.value).partition("now")[2]
        assert "--out" in str(caught.value)
        assert contents(recorded) == before
        path.rename(path.with_suffix(".away"))
    (record,) = train(tmp_path / "other", runs=1, **options)["mlp_1"]
    assert str(now) in str(record.config[key])
    assert len(train(tmp_path / "other", must_not_train, runs=1, **options)) == 1


def test_a_definition_that_lacks_something_is_another_one_and_no_damage(recorded):
    rewrite(recorded / FIRST, {"config": {"layers": None}})
    before = contents(recorded)
    with pytest.raises(UserError, match=f"{FIRST}: .*another definition: layers.*--out") as caught:
        train(recorded, must_not_train)
    assert not isinstance(caught.value, DamagedRecord)
    assert contents(recorded) == before


def test_a_part_is_read_if_its_records_belong_together(recorded):
    """Copies that people and sync tools make are left out, and so is what is not finished."""
    for name in ("run_00 (copy)", "run_00.sync-conflict-1", ".run_02.npz.1f.tmp", "run_1a"):
        shutil.copy(recorded / FIRST, (recorded / FIRST).with_name(f"{name}.npz"))
    (recorded / "runs/part3/cnn_3").mkdir()
    for number in (2, 10, 100):
        shutil.copy(recorded / FIRST, (recorded / FIRST).with_name(f"run_{number:02d}.npz"))
    ((name, found),) = records.read(recorded, "part3").items()
    assert name == "mlp_1"
    numbers = [record.path.stem for record in found]
    assert numbers == ["run_00", "run_01", "run_02", "run_10", "run_100"]


@pytest.mark.parametrize(
    "changes",
    [
        {"config": {"epochs": 2}},
        {f"{name}_curve": np.ones(5, np.float32) for name in ("loss", "train_acc", "val_acc")},
    ],
)
def test_runs_that_differ_are_not_averaged(changes, recorded):
    rewrite(recorded / SECOND, changes)
    with pytest.raises(UserError, match=rf"{SECOND}: .* than .*{FIRST}"):
        train(recorded, plot_only=True)
    if "config" not in changes:  # a loop that records more points under the same definition
        with pytest.raises(UserError, match=rf"{SECOND}: .* than .*{FIRST}"):
            train(recorded, must_not_train)


def test_networks_trained_on_different_data_are_not_compared(recorded):
    write_record(part3.configure("mlp_2"), recorded, [1.0])
    with pytest.raises(UserError, match=rf"mlp_2/run_00\.npz: .*other data than .*{FIRST}"):
        train(recorded, plot_only=True)


# ---- Damage


DAMAGES = {  # of the bytes, or of what they say
    "empty": lambda content: b"",
    "another file": lambda content: b"my notes",
    "cut short": lambda content: content[:-100],
    "one bit": lambda content: content.replace(b"\x93NUMPY", b"\x93NUMPX", 1),
    "no loss curve": {"loss_curve": None},
    "a shorter curve": {"val_acc_curve": np.ones(0, np.float32)},
    "no environment": {"environment": None},
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_record_is_named_moved_aside_and_trained_again(name, recorded, capsys):
    """But not by --plot-only, which only names it."""
    path, damage, before = recorded / FIRST, DAMAGES[name], records.load(recorded / FIRST)
    if callable(damage):
        path.write_bytes(damage(path.read_bytes()))
    else:
        rewrite(path, damage)
    damaged = path.read_bytes()
    with pytest.raises(DamagedRecord, match=f"{FIRST}: damaged"):
        train(recorded, plot_only=True)
    assert path.read_bytes() == damaged
    capsys.readouterr()
    again, _ = train(recorded)["mlp_1"]
    assert f"{path}: damaged" in capsys.readouterr().out
    assert path.with_suffix(".damaged").read_bytes() == damaged
    assert again["loss_curve"].tobytes() == before["loss_curve"].tobytes()


def test_what_could_not_be_read_back_is_not_recorded(tmp_path):
    def without_a_point(*arguments):
        recorded = part3.train_run(*arguments)
        recorded["val_acc_curve"].pop()
        return recorded

    with pytest.raises(UserError, match=r"val_acc_curve': \(1,\)"):
        train(tmp_path, without_a_point, epochs=2)
    assert not contents(tmp_path)


def test_a_record_that_cannot_be_read_is_not_taken_for_damaged(tmp_path):
    (tmp_path / FIRST).mkdir(parents=True)
    with pytest.raises(OSError, match=r"run_00\.npz"):  # which ends.explain makes one line
        train(tmp_path, must_not_train)
    assert (tmp_path / FIRST).exists()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "cnn_3"),
        ({"quick": True}, "cnn_3 (quick)"),
        ({"part": "part4_unscaled", "dataset": "synthetic"}, "cnn_3 (synthetic, unscaled)"),
    ],
)
def test_small_protocols_say_so_in_their_label(changes, expected, tmp_path):
    write_record(part3.configure("cnn_3"), tmp_path, [1.0])
    rewrite(tmp_path / "runs/part3/cnn_3/run_00.npz", {"config": changes})
    assert label("cnn_3", records.load(tmp_path / "runs/part3/cnn_3/run_00.npz")) == expected
