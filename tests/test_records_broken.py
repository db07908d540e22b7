"""Records that are damaged, or whose run is defined otherwise than the one that is asked for."""

import random

import numpy as np
import pytest
from helpers_faults import (
    PART3,
    SYNTHETIC,
    assert_one_line,
    contents,
    flipped,
    results,
    run,
)

from files import read_npz
from records import read_record

FOLDER = "runs/part3/mlp_1"


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


DAMAGES = {
    "empty": replaced(lambda data: b""),
    "truncated": replaced(lambda data: data[: len(data) // 2]),
    "last byte lost": replaced(lambda data: data[:-1]),
    "a bit of the weights flipped": replaced(lambda data: flipped(data, 4 * len(data))),
    "another file": replaced(lambda data: b"my notes"),
    "zeros, as after a power cut": replaced(lambda data: bytes(len(data))),
    "no loss curve": rewritten(loss_curve=None),
    "no validation curve": rewritten(val_acc_curve=None),
    "no weights": rewritten(weights=None),
    "a curve in double precision": rewritten(loss_curve=lambda curve: curve.astype(np.float64)),
    "a curve of words": rewritten(val_acc_curve=lambda curve: curve.astype(str)),
    "a shorter curve": rewritten(train_acc_curve=lambda curve: curve[:-1]),
    "a curve of no points": rewritten(loss_curve=lambda curve: curve[:0]),
    "a curve of two dimensions": rewritten(loss_curve=lambda curve: curve[None]),
    "several test accuracies": rewritten(test_acc=lambda value: np.stack([value, value])),
    "weights of other images": rewritten(weights=lambda weights: weights[:, :784]),
    "weights of no units": rewritten(weights=lambda weights: weights[:0]),
    "pickled objects": rewritten(weights=np.array([{}], dtype=object)),
    "no definition": rewritten(config=None),
    "half a definition": rewritten(config=lambda text: np.array(str(text)[:100])),
    "a list for a definition": rewritten(config=np.array("[]")),
}
OPTIONS = (*SYNTHETIC, "--out", "out", "--runs", len(DAMAGES))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    assert not run(PART3, *OPTIONS, cwd=folder).returncode
    return folder


@pytest.mark.slow
def test_damaged_records_are_reported_moved_aside_and_trained_again(recorded):
    out = recorded / "out"
    before = results(out)
    damaged = {}
    for number, damage in enumerate(DAMAGES.values()):
        path = out / FOLDER / f"run_{number:02d}.npz"
        damage(path)
        damaged[f"{FOLDER}/{path.stem}.damaged"] = path.read_bytes()
    done = run(PART3, *OPTIONS, cwd=recorded)
    assert done.returncode == 0 and not done.stderr, done.stderr
    for number, name in enumerate(DAMAGES):
        path = f"out/{FOLDER}/run_{number:02d}"
        assert done.stdout.count(f"{path}.npz: damaged (") == 1, name
        assert f"moved to run_{number:02d}.damaged, the run has to be trained" in done.stdout
        assert f"run_{number:02d} ({number + 1}/{len(DAMAGES)}): test accuracy" in done.stdout
    assert results(out) == before | damaged


@pytest.mark.slow
def test_any_truncated_record_and_any_flipped_bit_is_recognised(recorded, tmp_path):
    """A bit that nothing depends on, such as of the time in the archive, may be any."""
    path = recorded / "out" / FOLDER / "run_00.npz"
    whole, expected = path.read_bytes(), read_npz(path, 10**8)
    generator = random.Random(6)
    structure = [*range(8 * 300), *range(8 * (len(whole) - 900), 8 * len(whole))]
    bits = generator.sample(range(8 * len(whole)), 600) + generator.sample(structure, 600)
    lengths = generator.sample(range(len(whole)), 300)
    broken = [flipped(whole, bit) for bit in bits] + [whole[:length] for length in lengths]
    recognised = 0
    for number, data in enumerate(broken):
        path = tmp_path / f"{number}.npz"
        path.write_bytes(data)
        try:
            record = read_record(path)
        except ValueError:
            recognised += 1
            continue
        for name, array in record.arrays.items():
            np.testing.assert_array_equal(array, expected[name], strict=True)
        path.unlink()
    assert recognised > 1200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "2"], "recorded with epochs 1, now it is 2"),
        (["--seed", "1"], "recorded with seed 0, now it is 1"),
        (["--batch-size", "25"], "recorded with batch_size 50, now it is 25"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--plot-only"]], ids=["train", "plot"])
def test_a_record_with_another_definition_is_neither_overwritten_nor_averaged(
    options, message, more, recorded
):
    before = contents(recorded)
    done = run(PART3, *OPTIONS, *options, *more, cwd=recorded)
    assert_one_line(done, 1, f"out/{FOLDER}/run_00.npz: {message}", "--out")
    assert contents(recorded) == before


@pytest.mark.slow
def test_a_record_on_other_data_is_neither_overwritten_nor_averaged(recorded):
    before = contents(recorded)
    not_quick = [option for option in OPTIONS if option != "--quick"]
    more_runs = [*not_quick, "--runs", len(DAMAGES) + 1]
    done = run(PART3, *more_runs, cwd=recorded)
    assert_one_line(done, 1, f"out/{FOLDER}/run_00.npz: recorded with data_sha256 ", "--out")
    assert contents(recorded) == before


@pytest.mark.slow
def test_a_record_that_was_cut_to_another_length_is_not_averaged(recorded):
    """It is well formed, and only the others tell that it is too short."""
    path = recorded / "out" / FOLDER / "run_01.npz"
    whole = path.read_bytes()
    curves = {f"{name}_curve": lambda curve: curve[:5] for name in ("loss", "train_acc", "val_acc")}
    rewritten(**curves)(path)
    before = contents(recorded)
    done = run(PART3, *OPTIONS, cwd=recorded)
    assert_one_line(done, 1, f"out/{FOLDER}/run_01.npz", "5 points", "move it away")
    assert contents(recorded) == before
    path.write_bytes(whole)
