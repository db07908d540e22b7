"""Train the runs that have no record yet, in worker processes.

Processes and machines share the runs by their rank and by the records. They exchange nothing
else. Within a process each worker is a `ProcessPoolExecutor` with one process, and threads hand
them the runs. So a worker that is killed breaks its own executor only.
"""

import contextlib
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache, partial
from pathlib import Path

from experiments import records
from experiments.cli import StillTraining, is_out_of_memory, num_cores, select_device
from experiments.config import RunConfig
from experiments.records import DamagedRecord, Key, Record
from experiments.storage import UserError, first_line, remove_stray_temporaries

import numpy as np
import psutil
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

import data
from models import build

Advance = Callable[[int], None]  # called with the number of steps done
TrainRun = Callable[[RunConfig, data.Data, Advance], dict]  # what a part's script does
WORKER_BYTES = 1_500_000_000  # memory of a worker: PyTorch, the images, a CNN's feature maps
STEP_OVERHEAD = 2e7  # what a step costs beside its arithmetic, in floating-point operations
TRIES = 2


def run_missing(
    runs: Sequence[RunConfig], train_run: TrainRun, options: Namespace, by_process_0: bool = False
) -> None:
    """Train those of this process's share of `runs` that have no record yet.

    With --plot-only nothing is trained.

    runs: all on the same data, which is read only if something is to be trained.
    train_run: `train_run(config, data, advance)` trains, calls `advance(step)` at every point, and
    returns the arrays of the record.
    by_process_0: process 0 trains all of `runs`, and the others train none.

    Damaged records are moved aside. Raises UserError, before training, if a record has another
    definition or was trained on other data.
    """
    if options.plot_only or (by_process_0 and options.rank > 0):
        return
    remove_stray_temporaries(options.out)
    share = runs if by_process_0 else runs[options.rank :: options.world_size]
    missing = [config for config in share if not _is_recorded(config, options.out)]
    if not missing:
        if len(share) == len(runs):
            print(f"{runs[0].part}: nothing to train, all is recorded in {options.out}")
        return
    arrays = data.read(runs[0].dataset, options.data_dir, options.quick)
    checksum = data.sha256(arrays)
    _check_same_data(options.out, checksum)
    for config in runs:
        with contextlib.suppress(DamagedRecord):  # moved aside by the process whose share it is
            records.find(config, options.out, checksum)
    num_train, num_val = map(len, data.stratified_split(arrays["train_labels"], runs[0].split_seed))
    for config in missing:
        if config.num_steps(num_train) < config.record_every:
            raise UserError(
                f"{config}: {config.num_steps(num_train)} steps in all, but curves have a point "
                f"every {config.record_every}; take more --epochs or a smaller --batch-size"
            )
    costs = {config: cost(config, num_train, num_val) for config in missing}
    missing.sort(key=lambda config: -costs[config])  # the longest first, so that none is left over
    processes = num_processes(options, len(missing))
    progress = Progress(costs, num_train, hidden=options.rank != 0)
    if processes > 1:
        del arrays
        _train_in_workers(missing, train_run, options, processes, progress)
    else:
        _train_here(missing, train_run, options, arrays, progress)


def _is_recorded(config: RunConfig, out: Path) -> bool:
    """Return whether there is a record. A damaged one is moved aside and counts as none."""
    try:
        return records.find(config, out) is not None
    except DamagedRecord as error:
        path = records.record_path(config, out)
        aside = path.with_suffix(".damaged")
        with contextlib.suppress(FileNotFoundError):  # another process may have moved it
            path.replace(aside)
        print(f"{str(error).partition(';')[0]}; moved to {aside.name}, it will be trained again")
        return False


def _check_same_data(out: Path, checksum: str) -> None:
    """Raise UserError if the first readable record below `out` is of other data."""
    for path in sorted(out.glob("runs/*/*/run_*.npz")):
        with contextlib.suppress(DamagedRecord, FileNotFoundError):  # then the next one tells
            if records.load(path).config["data_sha256"] != checksum:
                raise UserError(f"{path}: recorded with other data; choose another --out")
            return


def load_finished(
    plans: Mapping[Key, Sequence[RunConfig]], required: Sequence[Key], options: Namespace
) -> dict[Key, list[Record]]:
    """Return the records of all finished plans, which must include every required one.

    With --plot-only and without --arch one finished plan is enough. Raises StillTraining if another
    process may be training what is missing, and UserError otherwise.
    """
    # Before reading, because another process may record some in between
    paths = [records.record_path(c, options.out) for key in required for c in plans[key]]
    missing = [path for path in paths if not path.exists()]
    results = records.load_results(plans, options.out, required)
    if not missing or (options.plot_only and results and not options.arch):
        return results
    if options.world_size > 1 and not options.plot_only:
        raise StillTraining(f"other processes still train {missing[0].parent.name}")
    raise UserError(f"{missing[0]}: not recorded yet; train it, without --plot-only")


# ---- How much there is to do, and how many workers do it


def cost(config: RunConfig, num_train: int, num_val: int) -> float:
    """Estimate the work of a run in floating-point operations.

    A step is a forward pass and a backward pass, which costs twice as much, over a batch; every
    `record_every` steps there is a forward pass over the validation images.
    """
    image = _operations(config.architecture)
    step = image * (3 * config.batch_size + num_val / config.record_every) + STEP_OVERHEAD
    return config.num_steps(num_train) * step


@lru_cache
def _operations(architecture: str) -> int:
    """Count the floating-point operations of a forward pass of one image."""
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        build(architecture)(torch.empty(1, 1, 32, 32))
    return counter.get_total_flops()


def num_processes(options: Namespace, num_missing: int) -> int:
    """Return the number of processes: one for each core or GPU, unless the options say otherwise.

    There are fewer if fewer runs are missing, or if there is not enough memory for so many.
    """
    if options.processes:
        return min(options.processes, num_missing)
    if options.world_size > 1 or options.torch_device.type == "mps":
        return 1
    if options.torch_device.type == "cuda":
        return min(torch.cuda.device_count() if ":" not in options.device else 1, num_missing)
    by_memory = int(psutil.virtual_memory().available // WORKER_BYTES)
    return max(1, min(num_cores() // options.threads, num_missing, by_memory))


class Progress:
    """One bar for all runs. Above it stands a line for each finished one.

    The bar counts the estimated cost, so that the time left is right for short and long runs
    together. In a log file it is a line every half minute.
    """

    def __init__(self, costs: Mapping[RunConfig, float], num_train: int, hidden: bool):
        self.costs = costs
        self.num_steps = {config: config.num_steps(num_train) for config in costs}
        self.finished: list[RunConfig] = []
        terminal = sys.stderr.isatty()
        self.bar = tqdm(
            desc=f"0/{len(costs)} runs, {sum(self.num_steps.values()):,} steps",
            total=sum(costs.values()),
            bar_format="{desc} |{bar:20}| {percentage:.0f} %, {elapsed} gone, {remaining} left",
            mininterval=0.5 if terminal else 30, maxinterval=30, smoothing=0, leave=False,
            file=sys.stderr if terminal else _Lines(), disable=hidden,
        )  # fmt: skip

    def show(self, running: Mapping[RunConfig, int]) -> None:
        """Show the bar, given the steps of the runs in progress."""
        steps = sum(self.num_steps[config] for config in self.finished) + sum(running.values())
        done = sum(self.costs[config] for config in self.finished)
        done += sum(self.costs[c] * n / self.num_steps[c] for c, n in running.items())
        self.bar.set_description_str(
            f"{len(self.finished)}/{len(self.num_steps)} runs, "
            f"{steps:,}/{sum(self.num_steps.values()):,} steps",
            refresh=False,
        )
        self.bar.update(done - self.bar.n)

    def finish(self, config: RunConfig, line: str) -> None:
        """Show the line of a finished run above the bar."""
        self.finished.append(config)
        self.write(line)

    def write(self, line: str) -> None:
        """Show a line above the bar."""
        tqdm.write(line)
        sys.stdout.flush()


class _Lines:
    """A log file: each state of the bar is a line."""

    def write(self, text: str) -> None:
        if text.strip():
            sys.stderr.write(text.strip() + "\n")

    def flush(self) -> None:
        sys.stderr.flush()


# ---- One run


def _train_here(
    configs: Sequence[RunConfig],
    train_run: TrainRun,
    options: Namespace,
    arrays: data.Arrays,
    progress: Progress,
) -> None:
    """Train `configs` one after the other in this process."""
    torch.set_num_threads(options.threads)
    prepared = data.prepare(
        arrays, options.torch_device, configs[0].split_seed, configs[0].pixel_range
    )
    with progress.bar:
        progress.show({})
        for config in configs:

            def advance(step: int, config: RunConfig = config) -> None:
                progress.show({config: step})

            line = _train_and_record(config, prepared, train_run, options, 1, advance)
            progress.finish(config, line)
            progress.show({})


def _train_and_record(
    config: RunConfig,
    prepared: data.Data,
    train_run: TrainRun,
    options: Namespace,
    processes: int,
    advance: Advance,
) -> str:
    """Train `config`, write its record and return a line about it."""
    keep_freed_memory()
    start = time.monotonic()
    values = train_run(config, prepared, advance)
    arrays = {name: _to_numpy(value) for name, value in values.items()}
    device = prepared.train.images.device
    environment = {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "processes": processes * options.world_size,
        "threads": torch.get_num_threads(),
        "seconds": round(time.monotonic() - start, 1),
    }
    if records.find(config, options.out, prepared.sha256) is None:  # another may have been faster
        path = records.record_path(config, options.out)
        records.save(path, arrays, config.definition(prepared.sha256), environment)
    note = "".join(
        f", {name} not finite from step {(lost[0] + 1) * config.record_every}"
        for name in ("loss_curve", "grad_curve")
        if name in arrays and len(lost := np.flatnonzero(~np.isfinite(arrays[name])))
    )
    seconds = environment["seconds"]
    return f"{config}: test accuracy {float(arrays['test_acc']):.2f} %, {seconds:.0f} s{note}"


def keep_freed_memory() -> None:
    """Make glibc keep freed memory of up to 30 MB for the process.

    Freeing one 30 MB block raises glibc's mmap threshold, so that later buffers are reused instead
    of being returned to the kernel and page-faulted in again (up to a third of a CNN's step).
    """
    torch.empty(30_000_000, dtype=torch.uint8)


def _to_numpy(values: list[Tensor] | Tensor) -> np.ndarray:
    """Return a curve as float32 (points,), and any other tensor as it is."""
    if isinstance(values, list):
        return torch.stack(values).float().cpu().numpy()
    return values.detach().cpu().contiguous().numpy()


# ---- Worker processes


def _train_in_workers(
    configs: Sequence[RunConfig],
    train_run: TrainRun,
    options: Namespace,
    processes: int,
    progress: Progress,
) -> None:
    """Train `configs` in `processes` workers. A run whose process is killed is tried again.

    Raises UserError at the end if it was killed again.
    """
    context = multiprocessing.get_context("spawn")
    # The steps of each worker. Each writes its own number only, so there is no lock that a killed
    # worker could keep
    steps = context.RawArray("q", processes)

    def start_worker(slot: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, context, _start_worker, (slot, steps, options))

    workers = [start_worker(slot) for slot in range(processes)]
    idle: queue.SimpleQueue[int] = queue.SimpleQueue()  # the slots of workers without a run
    for slot in range(processes):
        idle.put(slot)
    running: dict[RunConfig, int] = {}  # the slots
    stopping = threading.Event()

    def in_worker(config: RunConfig) -> str | None:
        """Train `config` in the next idle worker; return its line, or None if it was killed."""
        slot = running[config] = idle.get()
        try:
            for attempt in range(1, TRIES + 1):
                try:
                    task = (config, train_run, options, processes)
                    return workers[slot].submit(_train_in_this_worker, *task).result()
                except (BrokenProcessPool, MemoryError):
                    if stopping.is_set():
                        return None
                    again = "; it is tried once more" if attempt < TRIES else ""
                    progress.write(f"{config}: its process was killed, or lacked memory{again}")
                    steps[slot] = 0
                    workers[slot].shutdown(wait=False)
                    workers[slot] = start_worker(slot)
            return None
        finally:
            del running[config]
            steps[slot] = 0
            idle.put(slot)

    killed = []
    before = set(multiprocessing.active_children())
    with (
        progress.bar,
        ThreadPoolExecutor(processes, initializer=_block_signals) as threads,
    ):
        futures = {threads.submit(in_worker, config): config for config in configs}
        pending = set(futures)
        try:
            while pending:
                done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    if line := future.result():
                        progress.finish(futures[future], line)
                    else:
                        killed.append(futures[future])
                progress.show({config: steps[slot] for config, slot in list(running.items())})
        finally:
            stopping.set()
            threads.shutdown(wait=False, cancel_futures=True)
            while running or idle.qsize() != processes:
                _kill(set(multiprocessing.active_children()) - before)
                time.sleep(0.05)
            _kill(set(multiprocessing.active_children()) - before)
    if killed:
        raise UserError(
            f"{', '.join(map(str, killed))}: killed {TRIES} times, perhaps for lack of memory; "
            "try the same command with fewer --processes"
        )


def _kill(children) -> None:
    for child in children:
        child.kill()


def _block_signals() -> None:
    """Block Ctrl-C and SIGTERM in this thread and in the processes that it starts.

    They reach the workers of a terminal or a cluster's job as well, but it is their parent that
    ends them.
    """
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})


_worker: dict = {}  # of this process, if it is a worker: its slot and the steps of all workers


def _start_worker(slot: int, steps, options: Namespace) -> None:
    """Prepare this process, a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where signals cannot be blocked
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(options.threads)
    _worker.update(slot=slot, steps=steps)


def _end_with_parent() -> None:
    """End this worker when its parent is gone, even if that was killed."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _train_in_this_worker(
    config: RunConfig, train_run: TrainRun, options: Namespace, processes: int
) -> str:
    """Train `config` in this process, a worker. It reads the images itself, the first time."""
    advance = partial(_worker["steps"].__setitem__, _worker["slot"])
    try:
        device = select_device(options.device, options.local_rank * processes + _worker["slot"])
    except ValueError as error:
        raise UserError(f"argument --device: {error}") from error
    try:
        prepared = _load(
            config.dataset, options.data_dir, device, options.quick,
            config.split_seed, config.pixel_range,
        )  # fmt: skip
        return _train_and_record(config, prepared, train_run, options, processes, advance)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise MemoryError(first_line(error)) from error
        raise


_load = lru_cache(maxsize=1)(data.load)  # for the next run on the same data
