"""Worker processes: they are stopped, killed and fail, and leave what one process would."""

import io
import os
import resource
import signal
import sys
from pathlib import Path

from experiments import runner
from experiments.config import replicate

import psutil
import pytest
import torch
from helpers_faults import (
    PART3,
    SYNTHETIC,
    assert_one_line,
    assert_succeeds,
    finish,
    is_progress,
    results,
    run,
    start,
)
from helpers_records import options

import part3_architectures as part3

OPTIONS = (*SYNTHETIC, "--epochs", 15, "--out", "out", "--runs", 5)
WORKERS = (*OPTIONS, "--processes", 2)
STOPPED = "stopped; what is finished is kept"


# ---- What is shown


def configs(tmp_path, runs=2):
    given = options(tmp_path, runs=runs)
    return given, replicate(part3.configure("mlp_1", given), runs)


@pytest.fixture
def clock(monkeypatch):
    """tqdm's clock, which stands still unless `clock.append` sets it."""
    times = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: times[-1])
    return times


def test_in_a_log_the_bar_is_a_line_every_half_minute(clock, tmp_path, capsys):
    """It knows that the first run is a quarter of the work, and so how much time is left."""
    _, (short, long) = configs(tmp_path)
    progress = runner.Progress({short: 1.0, long: 3.0}, 4500, hidden=False)
    clock.append(5.0)
    progress.show({short: 1})
    assert len(capsys.readouterr().err.splitlines()) == 1  # that of the beginning
    clock.append(40.0)
    progress.show({short: 5, long: 0})
    progress.finish(short, "the line of a run")
    clock.append(80.0)
    progress.show({long: 5})
    shown = capsys.readouterr()
    assert shown.out == "the line of a run\n"
    first, second = shown.err.splitlines()
    assert is_progress(first)
    assert first.startswith("0/2 runs, 5/20 steps |")
    assert first.endswith("| 12 %, 00:40 gone, 04:40 left")
    assert second.startswith("1/2 runs, 15/20 steps |")
    assert second.endswith("| 62 %, 01:20 gone, 00:48 left")


def test_in_a_terminal_the_bar_stays_on_its_line_and_goes_away(clock, tmp_path, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    _, (config, _) = configs(tmp_path)
    progress = runner.Progress({config: 1.0}, 4500, hidden=False)
    clock.append(1.0)
    progress.show({config: 5})
    assert "\n" not in terminal.getvalue()
    assert "0/1 runs, 5/10 steps |" in terminal.getvalue().split("\r")[-1]
    progress.bar.close()
    assert terminal.getvalue().rstrip(" \r").endswith("left")
    assert terminal.getvalue().endswith("\r")


def test_only_the_first_of_many_processes_shows_a_bar(tmp_path, capsys):
    _, (config, _) = configs(tmp_path)
    progress = runner.Progress({config: 1.0}, 4500, hidden=True)
    progress.show({config: 10})
    progress.finish(config, "the line of a run")
    assert capsys.readouterr() == ("the line of a run\n", "")


def diverging(config, prepared, advance):
    """What a part's train_run returns if the loss is infinite from step 20 in run 0."""
    bad = torch.tensor(float("inf") if config.index == 0 else 1.0)
    curves = {name: [torch.tensor(1.0), bad] for name in ("loss_curve", "grad_curve")}
    curves["grad_curve"][0] = curves["grad_curve"][1]
    return curves | {"test_acc": torch.tensor(10.0), "weights": torch.zeros(32, 1024)}


def test_the_line_of_a_training_says_what_was_not_finite(tmp_path, capsys):
    given, runs = configs(tmp_path)
    runner.run_missing(runs, diverging, given)
    first, second = capsys.readouterr().out.splitlines()
    notes = ", loss_curve not finite from step 20, grad_curve not finite from step 10"
    assert first == f"part3 mlp_1 run_00: test accuracy 10.00 %, 0 s{notes}"
    assert second == "part3 mlp_1 run_01: test accuracy 10.00 %, 0 s"


def test_the_longest_training_comes_first(tmp_path, capsys):
    given = options(tmp_path)
    runs = [part3.configure(name, given) for name in ("mlp_1", "cnn_3", "cnn_5", "mlp_2")]
    runner.run_missing(runs, diverging, given)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["cnn_5", "cnn_3", "mlp_2", "mlp_1"]


# ---- Real processes


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What one process leaves that trains one network after the other."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert_succeeds(run(PART3, *OPTIONS, "--processes", 1, cwd=folder))
    return results(folder / "out")


def workers(process):
    """The workers of a script, which has not ended, as soon as two of them import PyTorch."""
    while True:
        assert process.poll() is None, process.communicate()
        found = list(filter(is_busy_worker, psutil.Process(process.pid).children()))
        if len(found) == 2:
            return found


def is_busy_worker(child):
    """Whether a process is a worker that imports PyTorch or has done so, and lives."""
    try:
        is_worker = "spawn_main" in " ".join(child.cmdline())
        return is_worker and child.memory_info().rss > 50_000_000
    except psutil.NoSuchProcess:  # it ended just now, and may be a zombie still
        return False


def start_until(moment, cwd):
    """Start a script with two workers in a group of its own; return it and its workers.

    moment: "starting" is while both import PyTorch, "training" when a first one has finished.
    """
    process = start(PART3, *WORKERS, cwd=cwd, start_new_session=True)
    if moment == "training":
        process.stdout.readline()
    return process, workers(process)


def assert_gone(processes):
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive


def finished(folder):
    """The results but the temporary files that killed workers leave, which the next run removes."""
    return {n: c for n, c in results(folder / "out").items() if not n.endswith(".tmp")}


def assert_a_restart_completes(folder, undisturbed):
    assert finished(folder).items() <= undisturbed.items()
    assert_succeeds(run(PART3, *OPTIONS, "--processes", 1, cwd=folder))
    assert results(folder / "out") == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["starting", "training"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_all_in_one_line(number, moment, undisturbed, tmp_path):
    """A terminal sends Ctrl-C to the whole group, `kill` sends SIGTERM to the script."""
    process, its_workers = start_until(moment, tmp_path)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    process.wait()
    assert_gone(its_workers)
    assert_one_line(finish(process), 128 + number, STOPPED)
    found = finished(tmp_path)
    assert found.items() <= undisturbed.items()
    assert bool(found) == (moment == "training")


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["starting", "training"])
def test_workers_end_with_a_parent_that_is_killed(moment, undisturbed, tmp_path):
    process, its_workers = start_until(moment, tmp_path)
    process.kill()
    process.wait()
    assert_gone(its_workers)
    assert "figures:" not in finish(process).stdout
    if moment == "training":
        assert_a_restart_completes(tmp_path, undisturbed)


@pytest.mark.slow
def test_the_training_of_a_killed_worker_is_tried_again(undisturbed, tmp_path):
    process, (victim, _) = start_until("training", tmp_path)
    victim.kill()
    done = finish(process)
    assert_succeeds(done)
    again = "its process was killed, or lacked memory; it is tried once more"
    (line,) = (line for line in done.stdout.splitlines() if "killed" in line)
    assert line.startswith("part3 mlp_1 run_0")
    assert line.endswith(again)
    assert results(tmp_path / "out") == undisturbed


# Part 3, but with faults in its workers: run 1 lacks memory once, run 2 is killed by the kernel
# every time, and if that is asked for, run 3 has a bug
FAULTY = """
import os, signal, sys
from pathlib import Path
from experiments import cli
import part3_architectures as part3
ours = part3.train_run
def train_run(config, data, advance):
    if config.index == 1 and not Path("lacked").exists():
        Path("lacked").touch()
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
    if config.index == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if config.index == 3 and Path("bug").exists():
        raise ValueError("a bug of ours")
    return ours(config, data, advance)
part3.train_run = train_run
if __name__ == "__main__":
    cli.run(part3.main)
"""


@pytest.mark.slow
def test_what_is_killed_twice_is_named_and_the_others_go_on(undisturbed, tmp_path):
    (tmp_path / "faulty.py").write_text(FAULTY)
    done = run(tmp_path / "faulty.py", *WORKERS, cwd=tmp_path)
    assert_one_line(done, 1, "faulty.py: part3 mlp_1 run_02: killed 2 times", "--processes")
    for line in (
        "part3 mlp_1 run_01: its process was killed, or lacked memory; it is tried once more",
        "part3 mlp_1 run_02: its process was killed, or lacked memory; it is tried once more",
        "part3 mlp_1 run_02: its process was killed, or lacked memory",
    ):
        assert done.stdout.splitlines().count(line) == 1
    found = results(tmp_path / "out")
    assert sorted(Path(name).stem for name in found) == ["run_00", "run_01", "run_03", "run_04"]
    assert_a_restart_completes(tmp_path, undisturbed)

    (tmp_path / "out/runs/part3/mlp_1/run_03.npz").unlink()
    (tmp_path / "out/runs/part3/mlp_1/run_04.npz").unlink()
    (tmp_path / "bug").touch()
    done = run(tmp_path / "faulty.py", *WORKERS, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: a bug of ours")


@pytest.mark.slow
def test_a_workers_error_is_the_scripts_one_line(tmp_path):
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))}
    done = run(PART3, *WORKERS, cwd=tmp_path, **limit)
    assert_one_line(done, 1, f"{PART3}: out/runs/part3", "cannot be written (File too large)")
