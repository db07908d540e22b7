"""Train the runs that have no record yet, in worker processes, and return the records.

Processes and machines share the runs by their rank and by the records. They exchange nothing else.
"""

import contextlib
import hashlib
import importlib.machinery
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

import data
import models
from experiments import config as run_config
from experiments import records, training
from experiments.config import RunConfig
from experiments.device import num_workers, select_device
from experiments.ends import explain, on_stop, stop
from experiments.options import Options
from experiments.records import Record
from experiments.storage import UserError

Advance = Callable[[int], None]  # called with the number of steps done
TrainRun = Callable[[RunConfig, data.Data, Advance], dict]  # what a part's script does
SOURCES = (models, data, training, run_config)  # with the script, what defines how it trains
STEP_OVERHEAD = 2e7  # a step's cost besides its arithmetic, in floating-point operations


def train_missing(
    configs: Sequence[RunConfig], train_run: TrainRun, options: Options
) -> dict[str, list[Record]]:
    """Train what has no record yet and return the records by variant, `options.runs` of each.

    configs: the first run of each variant, all on the same data.
    train_run: `train_run(config, data, advance)` trains, calls `advance(step)` at every point, and
    returns the arrays of the record.

    With --plot-only nothing is trained, and all runs that are recorded of these variants are
    returned, whatever options they were trained with.

    Raises UserError, before training, if a record has another definition, and after training, if a
    run could not be finished. Of several processes only the last one returns.
    """
    if options.plot_only:
        recorded = records.read(options.out, configs[0].part)
        found = {c.variant: recorded[c.variant] for c in configs if c.variant in recorded}
        if not found:
            raise UserError(f"{options.out}: {configs[0].part} {configs[0].variant} is not "
                            "recorded there; train it, without --plot-only")  # fmt: skip
        return found
    arrays = data.read(configs[0].dataset, options.data_dir, configs[0].quick)
    find = partial(records.find, out=options.out, data_sha256=data.sha256(arrays))
    runs = [run for config in configs for run in config.replicate(options.runs)]
    missing = [run for run in runs if find(run) is None]
    share = [run for run in missing if run in runs[options.rank :: options.world_size]]
    if not missing:
        print(f"nothing to train, all is recorded in {options.out}")
    if share:
        _train(share, arrays, train_run, options)
    finished: dict[str, list[Record]] = {config.variant: [] for config in configs}
    for config in runs:
        if record := find(config):
            finished[config.variant].append(record)
        elif options.world_size > 1:
            print(f"process {options.rank}: its share is done; others still train {config}")
            sys.exit()
        else:
            raise UserError(f"{config}: its record is gone; repeat the command")
    for of_runs in finished.values():
        records.check_alike(of_runs)
    return finished


def _train(
    runs: list[RunConfig], arrays: data.Arrays, train_run: TrainRun, options: Options
) -> None:
    """Train `runs`. Raises UserError at the end if some could not be finished."""
    num_train, num_val = map(len, data.stratified_split(arrays["train_labels"], runs[0].split_seed))
    for config in runs:
        if config.num_steps(num_train) < config.record_every:
            raise UserError(
                f"{config}: {config.num_steps(num_train)} steps in all, but curves have a point "
                f"every {config.record_every}; take more --epochs or a smaller --batch-size"
            )
    costs = {config: cost(config, num_train, num_val) for config in runs}
    runs.sort(key=lambda config: -costs[config])  # the longest first, so that none is left over
    processes = options.processes or 1
    if options.processes is None and options.world_size == 1:
        processes = num_workers(options.device, options.threads)
    processes = min(processes, len(runs))
    progress = Progress(costs, num_train, hidden=options.rank > 0)
    train = partial(_train_in_workers, processes) if processes > 1 else partial(_train_here, arrays)
    with progress.bar:
        failed = train(runs, train_run, options, progress)
    if failed:
        config, problem = failed[0]
        others = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise UserError(f"{config} is not finished{others}: {problem}")


# ---- How much there is to do


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
        models.build(architecture)(torch.empty(1, 1, 32, 32))
    return counter.get_total_flops()


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
            desc=f"0/{len(costs)} runs", total=sum(costs.values()),
            bar_format="{desc} |{bar:20}| {percentage:.0f} %, {elapsed} gone, {remaining} left",
            mininterval=0.5 if terminal else 30, maxinterval=30, smoothing=0, leave=False,
            file=sys.stderr if terminal else _Lines(), disable=hidden,
        )  # fmt: skip

    def show(self, running: Mapping[RunConfig, int]) -> None:
        """Show the bar, given the steps of the runs in progress."""
        done = sum(self.costs[config] for config in self.finished)
        done += sum(self.costs[c] * n / self.num_steps[c] for c, n in running.items())
        description = f"{len(self.finished)}/{len(self.num_steps)} runs"
        self.bar.set_description_str(description, refresh=False)
        self.bar.update(done - self.bar.n)

    def finish(self, config: RunConfig, line: str) -> None:
        """Show the line of a finished run above the bar."""
        self.finished.append(config)
        tqdm.write(line)


class _Lines:
    """A log file: each state of the bar is a line."""

    def write(self, text: str) -> None:
        if text.strip():
            sys.stderr.write(text.strip() + "\n")

    def flush(self) -> None:
        sys.stderr.flush()


# ---- One run


def _train_and_record(
    config: RunConfig, prepared: data.Data, train_run: TrainRun, options: Options, advance: Advance
) -> str:
    """Train `config`, write its record and return a line about it."""
    keep_freed_memory()
    start = time.monotonic()
    values = train_run(config, prepared, advance)
    arrays = {name: _to_numpy(value) for name, value in values.items()}
    seconds = time.monotonic() - start
    device = prepared.train.images.device
    environment = {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "seconds": round(seconds, 1),
    }
    try:
        definition = config.definition(prepared.sha256)
        records.save(records.record_path(config, options.out), arrays, definition, environment)
    except ValueError as error:
        raise UserError(f"{train_run.__name__} returned no whole record: {error}") from error
    lost = [
        f", {name} not finite from step {(first[0] + 1) * config.record_every}"
        for name in ("loss_curve", "grad_curve")
        if name in arrays and len(first := np.flatnonzero(~np.isfinite(arrays[name])))
    ]
    accuracy = float(arrays["test_acc"])
    return f"{config}: test accuracy {accuracy:.2f} %, {seconds:.0f} s{''.join(lost)}"


def keep_freed_memory() -> None:
    """Make glibc keep freed memory of up to 30 MB for the process.

    Freeing one 30 MB block raises glibc's mmap threshold, so that later buffers are reused instead
    of being returned to the kernel and page-faulted in again (up to a third of a CNN's step).
    """
    torch.empty(30_000_000, dtype=torch.uint8, device="cpu")


def _to_numpy(values: list[Tensor] | Tensor) -> np.ndarray:
    """Return a curve (points,) or anything else as float32; numbers may be tensors or not."""
    if isinstance(values, list):
        values = torch.stack([torch.as_tensor(value) for value in values])
    return torch.as_tensor(values).detach().float().cpu().contiguous().numpy()


def _train_here(
    arrays: data.Arrays,
    runs: Sequence[RunConfig],
    train_run: TrainRun,
    options: Options,
    progress: Progress,
) -> list[tuple[RunConfig, str]]:
    """Train `runs` one after the other in this process. Returns those that failed, and why."""
    torch.set_num_threads(options.threads)
    device = select_device(options.device, options.local_rank)
    prepared = data.prepare(arrays, device, runs[0].split_seed, runs[0].pixel_range)
    failed = []
    for config in runs:
        progress.show({})

        def advance(step: int, config: RunConfig = config) -> None:
            progress.show({config: step})

        try:
            line = _train_and_record(config, prepared, train_run, options, advance)
            progress.finish(config, line)
        except Exception as error:
            failed.append((config, _explained(error)))
    return failed


def _explained(error: Exception) -> str:
    """Return one line for an error that the user can put right, or raise it."""
    if (line := explain(error)) is None:
        raise error
    return line


# ---- Worker processes


def _train_in_workers(
    processes: int,
    runs: Sequence[RunConfig],
    train_run: TrainRun,
    options: Options,
    progress: Progress,
) -> list[tuple[RunConfig, str]]:
    """Train `runs` in worker processes. Returns those that failed, and why."""
    script = Path(train_run.__code__.co_filename).resolve()
    spec = importlib.machinery.PathFinder.find_spec(script.stem)
    if spec is None or Path(str(spec.origin)).resolve() != script:
        raise UserError(f"{script.name}: workers cannot import it; try --processes 1")
    task = partial(_train_in_worker, script, train_run.__name__, source_checksums(train_run))
    vars(sys.modules["__main__"]).setdefault("__spec__", None)  # a notebook's second %run has none
    others, executor = set(multiprocessing.active_children()), None
    futures: dict[Future, RunConfig] = {}
    failed: list[tuple[RunConfig, str]] = []
    stops: list[int] = []
    with on_stop(stops.append):  # an exception at any moment could leave a lock locked for good
        try:
            context = multiprocessing.get_context("spawn")
            steps = context.RawArray("q", len(runs))
            executor = ProcessPoolExecutor(
                processes, context, _start_worker, (steps, context.Value("i"), options)
            )
            with _signals_blocked():  # in the workers, which are started here
                futures = {executor.submit(task, options, c, k): c for k, c in enumerate(runs)}
            pending = set(futures)
            while pending and not stops:
                done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    line, problem = future.result()
                    if problem:
                        failed.append((futures[future], problem))
                    else:
                        progress.finish(futures[future], line)
                progress.show(
                    {c: steps[k] for k, c in enumerate(runs) if c not in progress.finished}
                )
        except BrokenProcessPool as error:
            left = ", ".join(str(config) for config in runs if config not in progress.finished)
            raise UserError("a worker process crashed or was killed, perhaps for lack of memory; "
                            f"not finished: {left}; repeat the command, with fewer --processes"
                            ) from error  # fmt: skip
        except (OSError, ImportError, NotImplementedError) as error:
            if futures:  # it comes from a worker
                raise
            raise UserError(f"no worker can be started, which takes a process and semaphores "
                            f"in /dev/shm ({error}); try --processes 1") from error  # fmt: skip
        finally:
            for child in set(multiprocessing.active_children()) - others:
                child.kill()
            if executor:
                executor.shutdown(cancel_futures=True)
    if stops:
        stop(stops[0])
    return failed


def source_checksums(train_run: TrainRun) -> list[str]:
    """Return the checksums of the files that define how `train_run` trains.

    They are those of the time when this process first asked for them, so that all runs of a command
    are trained by the same code.
    """
    script = _checksum(train_run.__code__.co_filename, train_run)  # a notebook may run it again
    return [script, *(_checksum(str(module.__file__)) for module in SOURCES)]


@lru_cache
def _checksum(file: str, _: TrainRun | None = None) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block Ctrl-C and SIGTERM in the processes that are started meanwhile.

    A terminal or a cluster's job sends them to the workers as well, but the parent ends the
    workers.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_worker: dict = {}  # of this process, if it is a worker: its number and the steps of all runs


def _start_worker(steps, count, options: Options) -> None:
    """Prepare this process, a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where signals cannot be blocked
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(options.threads)
    with count.get_lock():
        _worker.update(number=count.value, steps=steps)
        count.value += 1


def _end_with_parent() -> None:
    """End this worker when its parent is gone, even if that was killed."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _train_in_worker(
    script: Path,
    function: str,
    checksums: list[str],
    options: Options,
    config: RunConfig,
    index: int,
) -> tuple[str, str]:
    """Train `config` in this process, a worker.

    Returns a line about it, or what went wrong. The images are read the first time.
    """
    try:
        train_run = getattr(importlib.import_module(script.stem), function)
        if source_checksums(train_run) != checksums:
            names = ", ".join(Path(str(module.__file__)).name for module in SOURCES)
            raise UserError(f"{script.name} or one of {names} was changed meanwhile; "
                            "repeat the command, in a notebook after a restart")  # fmt: skip
        device = select_device(options.device, options.local_rank + _worker["number"])
        prepared = _load(
            config.dataset, options.data_dir, device, config.quick,
            config.split_seed, config.pixel_range,
        )  # fmt: skip
        advance = partial(_worker["steps"].__setitem__, index)
        return _train_and_record(config, prepared, train_run, options, advance), ""
    except Exception as error:
        return "", _explained(error)


_load = lru_cache(maxsize=1)(data.load)  # for the next run on the same data
