import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from averages import find_finished, label, mean_curve
from data import Data
from files import UserError, write_npz
from records import Run, find_record, read_record, repeat
from runs import complete, train_and_validate
from training import Examples

ARRAYS = {"loss_curve", "train_acc_curve", "val_acc_curve", "test_acc", "weights"}


def options(out, **changes):
    defaults = {
        "out": out, "data_dir": Path("unused"), "device": torch.device("cpu"), "quick": True,
        "rank": 0, "world_size": 1, "plot_only": False, "arch": None, "dataset": "synthetic",
        "runs": 2, "epochs": 1, "batch_size": 450, "seed": 5,
    }  # fmt: skip
    return Namespace(**defaults | changes)


def plan(opts, **changes):
    definition = {
        "part": "part3", "variant": "mlp_1", "architecture": "mlp_1", "activation": "ReLU",
        "optimizer": "Adam", "learning_rates": (0.001,),
    }  # fmt: skip
    return repeat(opts, **definition | changes)


@pytest.fixture
def recorded(tmp_path):
    opts = options(tmp_path)
    complete(plan(opts), train_and_validate, opts)
    return opts


def test_a_record_holds_curves_result_definition_and_environment(recorded):
    record = read_record(recorded.out / "runs" / "part3" / "mlp_1" / "run_01.npz")
    assert set(record.arrays) == ARRAYS
    assert record["loss_curve"].dtype == np.float32
    assert record["loss_curve"].shape == (1,)  # 4,500 images, batches of 450: ten steps
    assert record["weights"].shape == (32, 1024)
    assert 0 <= record.test_acc <= 100
    assert record.config == {
        "part": "part3", "architecture": "mlp_1", "activation": "ReLU", "optimizer": "Adam",
        "learning_rates": [0.001], "drop_epochs": [], "epochs": 1, "batch_size": 450, "seed": 6,
        "split_seed": 449, "pixel_range": [-1.0, 1.0], "record_every": 10, "dataset": "synthetic",
        "data_sha256": record.config["data_sha256"],
    }  # fmt: skip
    assert len(record.config["data_sha256"]) == 64
    assert set(record.environment) == {"torch", "device", "threads", "seconds"}


def test_runs_differ_in_seed_only_and_so_in_result(recorded):
    first, second = (find_record(run, recorded.out) for run in plan(recorded))
    differing = {key for key in first.config if first.config[key] != second.config[key]}
    assert differing == {"seed"}
    assert not np.array_equal(first["weights"], second["weights"])


def test_what_is_recorded_is_not_trained_again(recorded):
    def must_not_train(*_):
        raise AssertionError("trained again")

    complete(plan(recorded), must_not_train, recorded)
    more = options(recorded.out, runs=3)
    with pytest.raises(AssertionError, match="trained again"):
        complete(plan(more), must_not_train, more)


def test_the_same_definition_gives_the_same_record(recorded, tmp_path):
    other = options(tmp_path / "other")
    complete(plan(other), train_and_validate, other)
    for run in plan(recorded):
        one, two = find_record(run, recorded.out), find_record(run, other.out)
        assert one.config == two.config
        assert all(np.array_equal(one[name], two[name]) for name in ARRAYS)


def test_fewer_runs_than_recorded_are_refused(recorded):
    fewer = options(recorded.out, runs=1)
    for act in (
        lambda: complete(plan(fewer), train_and_validate, fewer),
        lambda: find_finished({"mlp_1": plan(fewer)}, ["mlp_1"], fewer),
    ):
        with pytest.raises(UserError, match="mlp_1: holds 2 runs, more than the 1 asked for"):
            act()


@pytest.mark.parametrize(
    ("change", "named"),
    [({"epochs": 2}, "epochs 1, now it is 2"), ({"seed": 9}, "seed 5, now it is 9"),
     ({"batch_size": 90}, "batch_size 450, now it is 90")],
)  # fmt: skip
def test_another_definition_is_refused_and_nothing_is_touched(recorded, change, named):
    before = {path: path.read_bytes() for path in recorded.out.rglob("*.npz")}
    other = options(recorded.out, **change)
    with pytest.raises(UserError, match=f"run_00.npz.*{named}.*--out"):
        complete(plan(other), train_and_validate, other)
    assert {path: path.read_bytes() for path in recorded.out.rglob("*.npz")} == before


def test_records_on_other_data_are_refused(recorded):
    (run, _) = plan(recorded)
    assert find_record(run, recorded.out) is not None
    with pytest.raises(UserError, match="data_sha256"):
        find_record(run, recorded.out, data_sha256="0" * 64)


def test_another_part_on_other_data_is_refused_before_training(recorded):
    full = options(recorded.out, quick=False)
    with pytest.raises(UserError, match="run_00.npz: recorded with other data; .*--out"):
        complete(plan(full, part="part5"), train_and_validate, full)
    assert not (recorded.out / "runs" / "part5").exists()


def test_a_definition_that_lacks_something_counts_as_damage(recorded):
    (run, _) = plan(recorded)
    record = find_record(run, recorded.out)
    config = {key: value for key, value in record.config.items() if key != "data_sha256"}
    texts = {"config": np.array(json.dumps(config)), "environment": np.array("{}")}
    write_npz(record.path, record.arrays | texts)
    assert find_record(run, recorded.out) is None
    assert record.path.with_suffix(".damaged").exists()


def test_processes_share_the_runs(tmp_path):
    for rank in range(2):
        opts = options(tmp_path, runs=5, rank=rank, world_size=2)
        complete(plan(opts), train_and_validate, opts)
        done = [find_record(run, tmp_path) is not None for run in plan(opts)]
        assert done == ([True, False, True, False, True] if rank == 0 else [True] * 5)


def test_unfinished_plans_are_not_averaged(recorded):
    more = options(recorded.out, runs=3)
    with pytest.raises(UserError, match="run_02.npz: not recorded yet"):
        find_finished({"mlp_1": plan(more)}, ["mlp_1"], more)
    assert find_finished({"mlp_1": plan(recorded)}, ["mlp_1"], recorded)["mlp_1"]


def test_mean_curve_is_the_mean_over_records(recorded):
    records = [find_record(run, recorded.out) for run in plan(recorded)]
    expected = (records[0]["loss_curve"].astype(float) + records[1]["loss_curve"]) / 2
    assert mean_curve(records, "loss_curve") == pytest.approx(expected.tolist())
    assert all(isinstance(value, float) for value in mean_curve(records, "loss_curve"))


def test_schedule_replaces_the_optimizer_and_keeps_the_model():
    """Equal to training by hand with one optimizer after another on the same network."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(60, 1, 32, 32, generator=generator)
    examples = Examples(images, torch.randint(10, (60,), generator=generator))
    opts = options(Path("unused"), epochs=3, batch_size=6)
    (run, _) = plan(opts, optimizer="SGD", learning_rates=(0.1, 0.01), drop_epochs=(1,))
    assert run.phases() == [(0.1, range(0, 1)), (0.01, range(1, 3))]
    recorded = train_and_validate(run, Data(examples, examples, examples, ""), lambda step: None)

    model, shuffle = run.start(Data(examples, examples, examples, ""))
    for learning_rate in (0.1, 0.01, 0.01):
        for batch in torch.randperm(60, generator=shuffle).split(6):
            loss = nn.functional.cross_entropy(model(images[batch]), examples.labels[batch])
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                    parameter -= learning_rate * gradient
    torch.testing.assert_close(recorded["weights"], model[1].weight)
    assert len(recorded["loss_curve"]) == 3


def test_every_run_of_a_part_has_its_own_file():
    runs = plan(options(Path("out"), runs=12))
    assert len({run.path(Path("out")) for run in runs}) == 12
    assert isinstance(runs[0], Run)
    assert json.dumps(replace(runs[0], seed=3).config("x"))


def test_small_protocols_say_so_in_their_label():
    assert label("cnn_3", Namespace(dataset="cifar10", quick=False)) == "cnn_3"
    assert label("cnn_3", Namespace(dataset="cifar10", quick=True)) == "cnn_3 (quick)"
    assert label("cnn_3", Namespace(dataset="synthetic", quick=True)) == "cnn_3 (synthetic, quick)"
