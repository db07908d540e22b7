"""Training what has no record yet, alone or as one of many processes.

Processes share the runs by their rank, and nothing else but the records: no locks, no messages.
"""

import json
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from data import Data, load
from files import UserError, remove_stray_temporaries, write_npz
from models import first_layer
from records import Run, check_none_left_out, check_same_data, find_record
from training import accuracy, train


def train_and_validate(run: Run, data: Data, advance: Callable[[int], None]) -> dict:
    """Train a network, measure its validation accuracy at every point, and test it at the end.

    Where the learning rate changes the optimizer is new and the model is not.
    """
    model, generator = run.start(data)
    loss_curve, train_acc_curve, val_acc_curve = [], [], []
    for learning_rate, epochs in run.phases():
        optimizer = run.optimizer_for(model, learning_rate)
        for point in train(model, optimizer, data.train, epochs, run.batch_size, generator):
            loss_curve.append(point.loss)
            train_acc_curve.append(point.accuracy)
            val_acc_curve.append(accuracy(model, data.val))
            advance(point.step)
    return {
        "loss_curve": loss_curve,
        "train_acc_curve": train_acc_curve,
        "val_acc_curve": val_acc_curve,
        "test_acc": accuracy(model, data.test),
        "weights": first_layer(model).weight,
    }


def complete(
    runs: Sequence[Run],
    train_run: Callable[[Run, Data, Callable], dict],
    options: Namespace,
    together: bool = False,
) -> None:
    """Train what has no record yet of this process's share of `runs`, or of all of them `together`.

    All `runs` are on the same data, which are read only if something is to be trained.
    `train_run(run, data, advance)` trains, calls `advance(step)` at every point, and returns the
    arrays of the record. Raises UserError, before training, if a record has another definition.
    """
    remove_stray_temporaries(options.out)
    check_none_left_out(runs, options.out)
    recorded = [find_record(run, options.out) is not None for run in runs]
    rank, world_size = (0, 1) if together else (options.rank, options.world_size)
    share = range(rank, len(runs), world_size)
    if all(recorded[index] for index in share):
        if rank == 0 and not together:
            print(f"{runs[0].part}: nothing to train, all is recorded in {options.out}")
        return
    data = load_data(
        runs[0].dataset, options.data_dir, options.device, options.quick,
        runs[0].split_seed, runs[0].pixel_range,
    )  # fmt: skip
    for run in runs:
        find_record(run, options.out, data.sha256)
    check_same_data(options.out, data.sha256)
    for index in share:
        if find_record(runs[index], options.out) is None:  # nor recorded by another meanwhile
            _train_and_record(runs[index], data, train_run, options, f"{index + 1}/{len(runs)}")


load_data = cache(load)  # for the next call on the same data


def _train_and_record(run, data, train_run, options, position) -> None:
    start = time.monotonic()
    num_steps = run.num_steps(len(data.train.labels))
    if num_steps < run.record_every:
        raise UserError(
            f"{run}: {num_steps} steps in all, but curves have a point every {run.record_every}; "
            "take more --epochs or a smaller --batch-size"
        )
    with progress_bar(f"{run} ({position})", num_steps, options) as bar:
        arrays = train_run(run, data, lambda step: bar.update(step - bar.n))
        arrays = {name: _to_numpy(values) for name, values in arrays.items()}
        bar.update(num_steps - bar.n)
    environment = {
        "torch": torch.__version__,
        "device": device_name(options.device),
        "threads": torch.get_num_threads(),
        "seconds": round(time.monotonic() - start, 1),
    }
    texts = {"config": run.config(data.sha256), "environment": environment}
    arrays |= {name: np.array(json.dumps(text)) for name, text in texts.items()}
    if find_record(run, options.out, data.sha256) is None:  # another may have been faster
        write_npz(run.path(options.out), arrays)

    lost = np.flatnonzero(~np.isfinite(arrays["loss_curve"]))
    note = f", loss not finite from step {(lost[0] + 1) * run.record_every}" if len(lost) else ""
    test_acc, seconds = float(arrays["test_acc"]), environment["seconds"]
    tqdm.write(f"{run} ({position}): test accuracy {test_acc:.2f} %, {seconds:.0f} s{note}")


def progress_bar(description: str, num_steps: int, options: Namespace) -> tqdm:
    """A bar over the steps of a run; of several processes only the first shows one."""
    seconds = 0.5 if sys.stderr.isatty() else 30  # not every step into a log file
    return tqdm(
        total=num_steps, desc=description, unit="step", leave=False, mininterval=seconds,
        disable=options.rank != 0,
    )  # fmt: skip


def device_name(device: torch.device) -> str:
    """What a reader would call the device: the GPU's name, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _to_numpy(values: list[Tensor] | Tensor) -> np.ndarray:
    """A curve as float32 (points,), any other tensor as it is."""
    if isinstance(values, list):
        return torch.stack(values).float().cpu().numpy() if values else np.zeros(0, np.float32)
    return values.detach().cpu().contiguous().numpy()
