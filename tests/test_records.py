"""Records: what is trained, what is found, what is refused, what is damaged."""

import json
import shutil
from dataclasses import replace

from experiments import records
from experiments.cli import StillTraining, label
from experiments.config import replicate
from experiments.records import DamagedRecord, find, load_results, read_variants, record_path
from experiments.runner import load_finished, run_missing
from experiments.storage import UserError, read_npz

import numpy as np
import pytest
from helpers_faults import contents, read_damaged, results
from helpers_records import options, write_record

import part3_architectures as part3
import part4_activations as part4
import part5_learning_rate as part5

FOLDER = "runs/part3/mlp_1"
CURVES = ("loss_curve", "train_acc_curve", "val_acc_curve")


def plan(opts):
    return replicate(part3.configure("mlp_1", opts), opts.runs)


def complete(opts, train_run=part3.train_run):
    run_missing(plan(opts), train_run, opts)


def must_not_train(*_):
    raise AssertionError("trained")


@pytest.fixture
def recorded(tmp_path):
    """The options of two runs, which are recorded."""
    opts = options(tmp_path, runs=2, seed=5)
    complete(opts)
    return opts


# ---- What a record holds, and when there is one


def test_a_record_holds_curves_result_definition_and_environment(recorded):
    record = records.load(recorded.out / FOLDER / "run_01.npz")
    assert set(record.arrays) == {*CURVES, "test_acc", "weights"}
    assert record["loss_curve"].dtype == np.float32
    assert record["loss_curve"].shape == (1,)  # 4,500 images, batches of 450: ten steps
    assert record["weights"].shape == (32, 1024)
    assert 0 <= record.test_acc <= 100
    assert record.config == {
        "part": "part3", "architecture": "mlp_1", "activation": "ReLU", "optimizer": "Adam",
        "learning_rates": [0.001], "drop_epochs": [], "epochs": 1, "batch_size": 450, "seed": 6,
        "split_seed": 449, "pixel_range": [-1.0, 1.0], "record_every": 10, "dataset": "synthetic",
        "initialization": "default", "data_sha256": record.config["data_sha256"],
    }  # fmt: skip
    assert len(record.config["data_sha256"]) == 64
    assert set(record.environment) == {
        "torch", "device", "cpu_capability", "processes", "threads", "seconds",
    }  # fmt: skip


def test_the_same_definition_gives_the_same_bits(recorded, tmp_path):
    again = options(tmp_path / "again", runs=2, seed=5)
    complete(again)
    assert results(tmp_path / "again") == {
        name: arrays for name, arrays in results(recorded.out).items() if "again" not in name
    }


def test_a_process_does_not_say_of_its_share_that_it_is_all(tmp_path, capsys):
    complete(options(tmp_path, runs=3))
    record_path(plan(options(runs=2))[1], tmp_path).unlink()  # of the other process's share
    capsys.readouterr()
    complete(options(tmp_path, runs=3, world_size=2), must_not_train)
    assert "nothing to train" not in capsys.readouterr().out


def test_processes_share_the_runs(tmp_path):
    for rank in range(2):
        opts = options(tmp_path, runs=5, rank=rank, world_size=2)
        complete(opts)
        done = [find(config, tmp_path) is not None for config in plan(opts)]
        assert done == ([True, False, True, False, True] if rank == 0 else [True] * 5)


def test_further_recorded_runs_are_all_used(recorded):
    """`--runs` asks for at least so many."""
    fewer = options(recorded.out, runs=1, seed=5)
    complete(fewer, must_not_train)
    found = load_results({"mlp_1": plan(fewer)}, recorded.out, ["mlp_1"])["mlp_1"]
    assert [record.path.stem for record in found] == ["run_00", "run_01"]
    other_seed = replace(plan(recorded)[1], seed=70)
    write_record(other_seed, recorded.out, [1.0], found[0].config["data_sha256"])
    with pytest.raises(UserError, match=r"run_01.npz: recorded with seed 70, now it is 6; .*--out"):
        load_results({"mlp_1": plan(fewer)}, recorded.out, ["mlp_1"])


def test_records_from_before_initializations_count(recorded):
    (config, _) = plan(recorded)
    record = find(config, recorded.out)
    definition = {k: v for k, v in record.config.items() if k != "initialization"}
    records.save(record.path, record.arrays, definition, {})
    assert find(config, recorded.out).config["initialization"] == "default"
    with pytest.raises(UserError, match="recorded with initialization default, now it is he"):
        find(replace(config, initialization="he"), recorded.out)


# ---- What is refused, and left as it is


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"epochs": 2}, "epochs 1, now it is 2"),
        ({"seed": 9}, "seed 5, now it is 9"),
        ({"batch_size": 90}, "batch_size 450, now it is 90"),
        ({"quick": False, "runs": 3}, "other data"),
    ],
)
def test_another_definition_is_neither_overwritten_nor_averaged(recorded, change, named):
    before = contents(recorded.out)
    other = options(recorded.out, **{"runs": 2, "seed": 5} | change)
    with pytest.raises(UserError, match=f"run_00.npz: recorded with {named}.*--out"):
        complete(other, must_not_train)
    if "quick" not in change:  # without the data, --plot-only cannot tell
        with pytest.raises(UserError, match=f"run_00.npz: recorded with {named}.*--out"):
            load_results({"mlp_1": plan(other)}, other.out, ["mlp_1"])
    assert contents(recorded.out) == before


def test_the_shares_of_other_processes_are_checked_before_training(recorded):
    """Process 0 does not train its share if that of process 1 is recorded otherwise."""
    record_path(plan(recorded)[0], recorded.out).unlink()
    first = options(recorded.out, runs=2, seed=5, epochs=2, world_size=2)
    with pytest.raises(UserError, match=r"run_01.npz: recorded with epochs 1, now it is 2"):
        complete(first, must_not_train)


def test_records_on_other_data_are_refused(recorded, tmp_path):
    (config, _) = plan(recorded)
    assert find(config, recorded.out) is not None
    with pytest.raises(UserError, match=r"recorded with data_sha256 .* now it is 000"):
        find(config, recorded.out, data_sha256="0" * 64)
    write_record(part3.configure("mlp_2", recorded), tmp_path, [1.0], "1" * 64)
    plans = {name: [part3.configure(name, recorded)] for name in ("mlp_1", "mlp_2")}
    with pytest.raises(UserError, match=r"mlp_1/run_01.npz: trained on other data than .*mlp_2"):
        load_results(plans, tmp_path, [])


def test_another_part_on_other_data_is_refused_before_training(recorded):
    full = options(recorded.out, quick=False)
    with pytest.raises(UserError, match=r"run_00.npz: recorded with other data; .*--out"):
        run_missing([part4.configure("mlp_1", "relu", full)], part4.train_run, full)
    assert not (recorded.out / "runs" / "part4").exists()


def test_of_many_processes_the_first_trains_the_schedules(tmp_path):
    """It trains all their runs, and the others end, because a record is missing."""
    first, second = (
        options(tmp_path, runs=2, arch="mlp_2", rank=rank, world_size=2) for rank in (0, 1)
    )
    run_missing([part5.configure(first)], part5.train_run, first)
    with pytest.raises(StillTraining, match="other processes still train mlp_2_drop_01"):
        part5.train_schedules(second)
    assert sorted(path.name for path in (tmp_path / "runs" / "part5").iterdir()) == ["mlp_2_lr_0.1"]
    plans = part5.train_schedules(first)
    assert {key: len(runs) for key, runs in plans.items()} == {"one drop": 2, "two drops": 2}
    assert set(load_finished(plans, list(plans), first)) == set(plans)


def test_unfinished_plans_are_not_averaged(tmp_path):
    opts = options(tmp_path, runs=2)
    for config in plan(opts)[:1]:
        write_record(config, tmp_path, [1.0])
    whole = part3.configure("mlp_2", opts)
    write_record(whole, tmp_path, [1.0])
    plans = {"mlp_1": plan(opts), "mlp_2": [whole]}

    def load(*required, **changes):
        return set(load_finished(plans, required, options(tmp_path, **changes)))

    for changes in ({}, {"plot_only": True, "arch": "mlp_1"}):
        with pytest.raises(UserError, match=r"mlp_1/run_01.npz: not recorded yet; train it"):
            load(*plans, **changes)
    with pytest.raises(StillTraining, match="other processes still train mlp_1"):
        load(*plans, world_size=2)
    assert load(*plans, plot_only=True) == load("mlp_2") == {"mlp_2"}  # one finished plan is enough
    del plans["mlp_2"]
    with pytest.raises(UserError, match="not recorded yet"):
        load(*plans, plot_only=True)


def test_a_record_that_was_cut_to_another_length_is_not_averaged(tmp_path):
    """It is well formed, and only the others tell that it is too short."""
    opts = options(tmp_path, runs=2)
    for config, points in zip(plan(opts), (10, 5), strict=True):
        write_record(config, tmp_path, np.ones(points))
    with pytest.raises(UserError, match=r"run_01.npz: 5 points, fewer .*run_00.npz; move it away"):
        load_results({"mlp_1": plan(opts)}, tmp_path, ["mlp_1"])
    with pytest.raises(UserError, match=r"run_01.npz: 5 points"):
        read_variants(tmp_path, "part3")


def test_what_is_not_required_need_not_be_readable(tmp_path):
    opts = options(tmp_path)
    for name in ("mlp_1", "mlp_2", "cnn_3"):
        write_record(part3.configure(name, opts), tmp_path, [1.0])
    (tmp_path / "runs/part3/mlp_2/run_00.npz").write_text("damaged")
    other = options(tmp_path, seed=3)
    plans = {name: [part3.configure(name, opts)] for name in ("mlp_1", "mlp_2")}
    plans["cnn_3"] = [part3.configure("cnn_3", other)]
    assert set(load_results(plans, tmp_path, ["mlp_1"])) == {"mlp_1"}
    for required in ("mlp_2", "cnn_3"):
        with pytest.raises(UserError, match=f"{required}/run_00.npz"):
            load_results(plans, tmp_path, [required])


def test_all_records_of_a_part_are_read_if_each_folder_has_one_definition(tmp_path):
    for number, config in enumerate(plan(options(tmp_path, runs=3))):
        write_record(config, tmp_path, [number])
    (tmp_path / "runs/part3/cnn_3").mkdir()
    copied = tmp_path / "runs/part3/mlp_1/run_00.npz"  # by hand
    shutil.copy(copied, copied.with_stem("run_00_copy"))
    ((name, found),) = read_variants(tmp_path, "part3").items()
    assert name == "mlp_1"
    assert [record["loss_curve"].item() for record in found] == [0, 1, 2]
    write_record(replace(config, epochs=2), tmp_path, [2.0])
    with pytest.raises(UserError, match=r"run_02.npz: has another definition than .*run_00.npz"):
        read_variants(tmp_path, "part3")


def test_small_protocols_say_so_in_their_label():
    assert label("cnn_3", options(dataset="cifar10", quick=False)) == "cnn_3"
    assert label("cnn_3", options(dataset="cifar10")) == "cnn_3 (quick)"


# ---- What is damaged


def rewritten(**changes):
    """A damage: these arrays instead of those in the record, None for those that are lost."""

    def damage(path):
        arrays = read_npz(path, 10**8)
        arrays |= {k: v(arrays[k]) if callable(v) else v for k, v in changes.items()}
        np.savez(path, **{k: v for k, v in arrays.items() if v is not None})

    return damage


def replaced(change):
    """A damage: `change` of the record's bytes."""
    return lambda path: path.write_bytes(change(path.read_bytes()))


def less_defined(text):
    definition = json.loads(str(text))
    del definition["data_sha256"]
    return np.array(json.dumps(definition))


DAMAGES = {
    "empty": replaced(lambda data: b""),
    "another file": replaced(lambda data: b"my notes"),
    "zeros, as after a power cut": replaced(lambda data: bytes(len(data))),
    "too large": rewritten(more=np.zeros(51_000_000, np.uint8)),
    "no loss curve": rewritten(loss_curve=None),
    "no validation curve": rewritten(val_acc_curve=None),
    "a curve in double precision": rewritten(loss_curve=lambda curve: curve.astype(np.float64)),
    "a shorter curve": rewritten(train_acc_curve=lambda curve: curve[:-1]),
    "a curve of no points": rewritten(loss_curve=lambda curve: curve[:0]),
    "a curve of two dimensions": rewritten(loss_curve=lambda curve: curve[None]),
    "several test accuracies": rewritten(test_acc=lambda value: np.stack([value, value])),
    "weights of other images": rewritten(weights=lambda weights: weights[:, :784]),
    "weights of no units": rewritten(weights=lambda weights: weights[:0]),
    "no definition": rewritten(config=None),
    "a list for a definition": rewritten(config=np.array("[]")),
    "a definition nested too deep": rewritten(config=np.array("[" * 10**5)),
    "a definition that lacks something": rewritten(config=less_defined),
    "no environment": rewritten(environment=None),
}


def test_damaged_records_are_reported_moved_aside_and_trained_again(tmp_path, capsys):
    """But not by --plot-only, which only reports them."""
    opts = options(tmp_path, runs=len(DAMAGES))
    complete(opts)
    before = results(tmp_path)
    damaged = {}
    for number, (name, damage) in enumerate(DAMAGES.items()):
        path = tmp_path / FOLDER / f"run_{number:02d}.npz"
        damage(path)
        damaged[f"{FOLDER}/{path.stem}.damaged"] = path.read_bytes()
        with pytest.raises(DamagedRecord, match=rf"{path}: damaged \(.*only and with --runs"):
            load_results({name: plan(opts)[number : number + 1]}, tmp_path, [name])
        assert path.read_bytes() == damaged[f"{FOLDER}/{path.stem}.damaged"]
    capsys.readouterr()
    complete(opts)
    said = capsys.readouterr().out
    for number, name in enumerate(DAMAGES):
        path = f"{tmp_path}/{FOLDER}/run_{number:02d}"
        assert said.count(f"{path}.npz: damaged (") == 1, name
        assert f"moved to run_{number:02d}.damaged, it will be trained again" in said
        assert f"part3 mlp_1 run_{number:02d}: test accuracy" in said
    assert results(tmp_path) == before | damaged


def test_any_truncated_record_and_any_flipped_bit_is_recognised(tmp_path):
    """A bit that nothing depends on, such as of the time in the archive, may be any."""
    (config,) = plan(options(tmp_path))
    weights = np.random.default_rng(0).standard_normal((32, 1024))
    write_record(config, tmp_path, np.arange(10), weights=weights)
    path = record_path(config, tmp_path)
    expected, found = records.load(path), read_damaged(path, records.load, DamagedRecord, 600, 300)
    assert len(found) < 300
    for record in found:
        np.testing.assert_equal(record.arrays, expected.arrays)
        assert record.config == expected.config


def test_a_record_that_cannot_be_read_is_not_taken_for_damaged(tmp_path):
    (config,) = plan(options(tmp_path))
    record_path(config, tmp_path).mkdir(parents=True)
    with pytest.raises(UserError, match=r"run_00.npz: cannot be read \(Is a directory\)") as caught:
        complete(options(tmp_path), must_not_train)
    assert not isinstance(caught.value, DamagedRecord)
    assert record_path(config, tmp_path).exists()
