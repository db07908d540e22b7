"""What is shown while runs are trained, and runs and workers that fail."""

import errno
import os
import shutil

import numpy as np
import pytest
from conftest import ROOT, TINY, call_script
from helpers_faults import PART3, SYNTHETIC, assert_one_line, finish, is_progress, run, start

import part3_architectures as part3
from experiments import runner
from experiments.storage import UserError

MLP_1 = (*TINY, "--arch", "mlp_1", "--epochs", 1)
SHORT, LONG = part3.configure("mlp_1", epochs=1).replicate(2)  # two runs


def test_in_a_log_the_bar_is_a_line_every_half_minute(monkeypatch, capsys):
    """It knows that the first run is a quarter of the work, and so how much time is left."""
    clock = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: clock[-1])
    progress = runner.Progress({SHORT: 1.0, LONG: 3.0}, 500, hidden=False)  # 10 steps each
    clock.append(5.0)
    progress.show({SHORT: 1})
    assert len(capsys.readouterr().err.splitlines()) == 1  # that of the beginning
    clock.append(40.0)
    progress.show({SHORT: 5, LONG: 0})
    progress.finish(SHORT, "the line of a run")
    clock.append(80.0)
    progress.show({LONG: 5})
    shown = capsys.readouterr()
    assert shown.out == "the line of a run\n"
    first, second = shown.err.splitlines()
    assert is_progress(first)
    assert first.startswith("0/2 runs |")
    assert first.endswith("| 12 %, 00:40 gone, 04:40 left")
    assert second.startswith("1/2 runs |")
    assert second.endswith("| 62 %, 01:20 gone, 00:48 left")


# ---- Runs that fail


def test_the_longest_run_comes_first_and_all_are_tried(monkeypatch, tmp_path):
    def fail(config, data, advance):
        raise UserError(f"{config.variant} fails")

    monkeypatch.setattr(part3, "train_run", fail)
    architectures = ("mlp_1", "cnn_3", "cnn_5", "mlp_2")
    done = call_script(PART3, *TINY, "--arch", *architectures, "--out", tmp_path, status=1)
    assert_one_line(done, 1, "part3 cnn_5 run_00", "7 more", "cnn_5 fails")


def test_a_record_that_cannot_be_written_stops_no_other_run(monkeypatch, tmp_path):
    rename = os.replace

    def refuse(source, target):
        if target.name == "run_00.npz":
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        rename(source, target)

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        done = call_script(PART3, *MLP_1, "--runs", 2, "--out", tmp_path, status=1)
    assert_one_line(done, 1, "part3 mlp_1 run_00", "run_00.npz", os.strerror(errno.ESTALE))
    assert [path.name for path in tmp_path.rglob("*.*")] == ["run_01.npz"]


# Part 3, but with faults in its workers; most of them in run 2
FAULTY = """
import os, signal, sys
from experiments import ends
import part3_architectures as part3
ours = part3.train_run
def train_run(config, data, advance):
    fault = os.environ["FAULT"]
    if config.index == 2:
        if fault == "memory":
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if fault == "bug":
            raise NotImplementedError("a bug of ours")
    return ours(config, data, advance)
part3.train_run = train_run
if __name__ == "__main__":
    ends.run(part3.main)
"""


@pytest.fixture
def faulty(tmp_path):
    """Runs part 3 with four runs in two workers, and a fault. Returns also what is recorded."""
    (tmp_path / "faulty.py").write_text(FAULTY)

    def faulty(fault):
        options = (*SYNTHETIC, "--runs", 4, "--processes", 2, "--out", "out")
        done = run(tmp_path / "faulty.py", *options, cwd=tmp_path, env={"FAULT": fault})
        return done, {path.stem for path in tmp_path.rglob("run_*.npz")}

    return faulty


@pytest.mark.slow
def test_a_fault_of_one_run_in_a_worker_stops_no_other(faulty):
    done, recorded = faulty("memory")
    assert_one_line(done, 1, "part3 mlp_1 run_02", "can't allocate memory", "--processes")
    assert recorded == {"run_00", "run_01", "run_03"}


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["kill", "crash"])
def test_a_worker_that_dies_ends_the_command_with_its_cause(fault, faulty):
    done, recorded = faulty(fault)
    assert_one_line(done, 1, "part3 mlp_1 run_02", "repeat the command", "--processes")
    assert recorded
    assert "run_02" not in recorded


@pytest.mark.slow
def test_a_fault_of_ours_keeps_its_traceback_in_a_worker(faulty):
    done, _ = faulty("bug")
    assert done.returncode == 1
    assert done.stderr.endswith("NotImplementedError: a bug of ours")


@pytest.mark.slow
@pytest.mark.parametrize("edited", ["models.py", "experiments/config.py"])
def test_all_runs_of_a_command_are_trained_by_the_same_code(edited, tmp_path):
    """In part 5 workers start again for the schedules; meanwhile someone edits a file."""
    for path in [*ROOT.glob("*.py"), *ROOT.glob("experiments/*.py")]:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(path, copy)
    arguments = (*TINY, "--arch", "mlp_2", "--epochs", 2, "--runs", 2, "--processes", 2)
    process = start(
        tmp_path / "part5_learning_rate.py", *arguments, cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert "test accuracy" in process.stdout.readline()
    source = (tmp_path / edited).read_text()  # of models.py the networks get larger
    source = source.replace("fc(32 * 32, 32)", "fc(32 * 32, 48)").replace("fc(32, 64", "fc(48, 64")
    (tmp_path / "edited").write_text(source + "\n")
    os.replace(tmp_path / "edited", tmp_path / edited)
    assert_one_line(finish(process), 1, "models.py, data.py", "repeat the command")
    records = [*tmp_path.rglob("run_*.npz")]
    assert {np.load(path)["weights"].shape for path in records} == {(32, 1024)}
