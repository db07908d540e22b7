"""What surrounds a run: notebooks, personal settings, launchers, file systems, limits, slips."""

import errno
import os
import signal
import subprocess
import sys

from experiments import cli, runner, storage
from experiments.records import find_all
from experiments.storage import UserError, write_atomically

import numpy as np
import pytest
from conftest import call_script
from helpers_faults import (
    PART3,
    ROOT,
    SYNTHETIC,
    assert_succeeds,
    environment,
    run,
)
from helpers_records import options, write_record
from jupyter_client.manager import run_kernel

import part3_architectures as part3

INLINE = "module://matplotlib_inline.backend_inline"  # what a notebook exports as MPLBACKEND


@pytest.mark.slow
def test_a_notebook_runs_a_script_in_workers_and_stays_as_it_was(tmp_path):
    small = " ".join(SYNTHETIC).replace("--threads 1", "")
    cell = f"""
import signal, matplotlib
before = signal.getsignal(signal.SIGINT)
%run {ROOT / PART3} {small} --runs 2 --processes 2 --out out
print(signal.getsignal(signal.SIGINT) is before, matplotlib.get_backend())
"""
    messages = []
    with run_kernel(cwd=str(tmp_path), env=environment(MPLBACKEND=INLINE)) as client:
        client.execute_interactive(cell, output_hook=messages.append, timeout=300)
    shown = [message["content"] for message in messages]
    said = "".join(c.get("text") or "".join(c.get("traceback", [])) for c in shown)
    assert "run_01: test accuracy" in said
    assert "figures:" in said
    assert "Traceback" not in said
    assert said.endswith(f"True {INLINE}\n")


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_script_with_a_closed_output_does_its_work(closed, tmp_path):
    command = [sys.executable, str(ROOT / PART3), *SYNTHETIC, "--runs", "2", "--processes", "2"]
    line = f"{' '.join(command)} --out out {closed}"
    subprocess.run(line, shell=True, cwd=tmp_path, env=environment(), check=True)
    assert (tmp_path / "out" / "part3_mlp_1.pkl").exists()


@pytest.mark.slow
def test_figures_are_the_same_whatever_a_matplotlibrc_and_a_notebook_say(tmp_path):
    """A notebook's `!` hands its MPLBACKEND on."""
    settings = tmp_path / "matplotlibrc"
    settings.write_text("text.usetex: True\nsavefig.transparent: True\nlines.linewidth: 9\n")
    personal, pictures = {"MATPLOTLIBRC": str(settings), "MPLBACKEND": INLINE}, []
    for out, env in (("plain", {}), ("personal", personal)):
        assert_succeeds(run("part2_conv.py", "--out", out, cwd=tmp_path, env=env))
        pictures.append((tmp_path / out / "part2.png").read_bytes())
    assert pictures[0] == pictures[1]


@pytest.mark.slow
def test_bound_threads_do_not_take_cores_away(tmp_path):
    """With OMP_PROC_BIND PyTorch would bind this process, and so all its workers, to one core."""
    cores = len(os.sched_getaffinity(0))
    program = (
        "from experiments import cli\nimport torch\n"
        "torch.randn(500, 500) @ torch.randn(500, 500)\nprint(cli.num_cores())"
    )
    bound = {"OMP_PROC_BIND": "true", "OMP_NUM_THREADS": str(cores)}
    done = run(("-c", program), cwd=tmp_path, env=bound)
    assert_succeeds(done)
    assert int(done.stdout) == cores
    assert_succeeds(run(PART3, *SYNTHETIC, "--threads", cores, cwd=tmp_path, env=bound))


@pytest.mark.parametrize("name", ["EINVAL", "ENOTSUP", "ENOSYS", "ENOSPC", "EIO"])
def test_fsync_that_is_unknown_loses_no_result_and_one_that_fails_is_an_error(
    name, monkeypatch, tmp_path
):
    def fail(_):
        raise OSError(getattr(errno, name), name)

    monkeypatch.setattr(os, "fsync", fail)
    if name in ("ENOSPC", "EIO"):
        with pytest.raises(UserError, match="file: cannot be written"):
            write_atomically(tmp_path / "file", b"result")
        assert list(tmp_path.iterdir()) == []
    else:
        write_atomically(tmp_path / "file", b"result")
        assert (tmp_path / "file").read_bytes() == b"result"


def test_the_folder_of_a_part_may_be_a_link_to_a_scratch_disk(tmp_path):
    """Records are found there, and the temporary files of the dead are removed there."""
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    config = part3.configure("mlp_1", options())
    write_record(config, out, [1.0])
    (out / "runs" / "part3").rename(scratch)
    (out / "runs" / "part3").symlink_to(scratch)
    with pytest.raises(UserError, match=r"run_00.npz: recorded with other data"):
        runner._check_same_data(out, "1" * 64)
    assert len(find_all([config], out)) == 1
    dead = subprocess.Popen(["true"])
    dead.wait()
    left_over, ours = (
        scratch / "mlp_1" / f".run_01.npz{storage._PROCESS}{process}.tmp"
        for process in (dead.pid, os.getpid())
    )
    for path in (left_over, ours):
        path.write_bytes(b"half")
    storage.remove_stray_temporaries(out)
    assert not left_over.exists()
    assert ours.exists()


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    np.save(tmp_path / "home" / "images.npy", np.ones((1, 1, 5, 5)))
    images = ("--samples=~/images.npy", "--kernel=~/images.npy")
    call_script("part2_conv.py", *images, "--out=~/out", cwd=tmp_path)
    assert (tmp_path / "home" / "out" / "part2_out.npy").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("can't start new thread"), "try --processes 1"),
        (BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)), "try --processes 1"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "memory"),
        (RuntimeError("CUDA error: an illegal memory access\nCUDA kernel"), "try --device cpu"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "try --device cpu"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"), "try --device cpu"),
        (RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"), "or --device cpu"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"), "or --device cpu"),
    ],
)
def test_limits_and_failures_of_a_machine_are_one_line_with_a_way_out(error, words, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as end:
        cli.run(main)
    assert end.value.code == 1
    (line,) = capsys.readouterr().err.strip().split("\n")
    assert words in line
    assert (str(error).split("\n")[0] or "MemoryError") in line


def test_a_fault_of_ours_keeps_its_traceback_and_the_handlers_are_restored():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(RuntimeError, match="sizes do not match"):
        cli.run(lambda: (_ for _ in ()).throw(RuntimeError("sizes do not match")))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_make_says_that_python_is_too_old(tmp_path):
    """A stand-in for Python 3.9 answers the question for its version."""
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for name in ("Makefile", "requirements.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--no-print-directory", "demo", f"PYTHON={old}"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stdout.strip() == f"Python 3.10 or newer is needed, not {old}: make PYTHON=..."
    assert not (tmp_path / ".venv").exists()
