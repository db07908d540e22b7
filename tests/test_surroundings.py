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
    assert_one_line,
    assert_succeeds,
    environment,
    mounted,
    run,
)
from helpers_records import options, write_record
from jupyter_client.manager import start_new_kernel

import part3_architectures as part3

INLINE = "module://matplotlib_inline.backend_inline"  # what a notebook exports as MPLBACKEND


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """A function that runs a cell in a real notebook kernel and returns what it prints."""
    folder = tmp_path_factory.mktemp("notebook")
    manager, client = start_new_kernel(cwd=str(folder), env=environment(MPLBACKEND=INLINE))

    def cell(code):
        shown = []

        def show(message):
            content = message["content"]
            shown.append(content.get("text") or "".join(content.get("traceback", [])))

        client.execute_interactive(code, output_hook=show, timeout=300)
        return "".join(shown)

    yield cell
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.mark.slow
def test_a_notebook_runs_a_script_in_workers_and_stays_as_it_was(notebook):
    cell = "import signal, sys, matplotlib\nbefore = signal.getsignal(signal.SIGINT)"
    assert notebook(cell) == ""
    small = " ".join(SYNTHETIC).replace("--threads 1", "")
    shown = notebook(f"%run {ROOT / PART3} {small} --runs 2 --processes 2 --out out")
    assert "run_01: test accuracy" in shown
    assert "figures:" in shown
    assert "Traceback" not in shown
    shown = notebook("print(signal.getsignal(signal.SIGINT) is before, matplotlib.get_backend())")
    assert shown == f"True {INLINE}\n"


@pytest.mark.slow
def test_a_notebook_starts_a_script_as_a_command(notebook):
    shown = notebook(f"!{sys.executable} {ROOT / 'part2_conv.py'} --out out")
    assert "largest difference from torch.conv2d" in shown
    assert "Traceback" not in shown


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_script_with_a_closed_output_does_its_work(closed, tmp_path):
    command = [sys.executable, str(ROOT / PART3), *SYNTHETIC, "--runs", "2", "--processes", "2"]
    line = f"{' '.join(command)} --out out {closed}"
    subprocess.run(line, shell=True, cwd=tmp_path, env=environment(), check=True)
    assert (tmp_path / "out" / "part3_mlp_1.pkl").exists()


@pytest.mark.slow
def test_figures_are_the_same_whatever_a_matplotlibrc_says(tmp_path):
    settings = tmp_path / "matplotlibrc"
    settings.write_text("text.usetex: True\nsavefig.transparent: True\nlines.linewidth: 9\n")
    pictures = []
    for out, env in (("plain", {}), ("personal", {"MATPLOTLIBRC": str(settings)})):
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


@pytest.mark.slow
def test_a_full_disk_in_part_2_is_said_in_words(tmp_path):
    (tmp_path / "disk").mkdir()
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=64k", "tmpfs"):
        done = run("part2_conv.py", "--out", "disk", cwd=tmp_path)
        assert_one_line(done, 1, "part2_conv.py: disk/part2_out.npy", "the disk is full")


def test_records_are_found_through_links(tmp_path):
    """The folder of a part may be a link to a scratch disk."""
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    config = part3.configure("mlp_1", options())
    write_record(config, out, [1.0])
    (out / "runs" / "part3").rename(scratch)
    (out / "runs" / "part3").symlink_to(scratch)
    with pytest.raises(UserError, match=r"run_00.npz: recorded with other data"):
        runner._check_same_data(out, "1" * 64)
    assert len(find_all([config], out)) == 1


def test_temporary_files_of_the_dead_are_removed_through_links(tmp_path):
    (tmp_path / "scratch" / "mlp_1").mkdir(parents=True)
    (tmp_path / "out" / "runs").mkdir(parents=True)
    (tmp_path / "out" / "runs" / "part3").symlink_to(tmp_path / "scratch")
    done = subprocess.Popen(["true"])
    done.wait()
    left_over = tmp_path / "scratch" / "mlp_1" / f".run_00.npz{storage._PROCESS}{done.pid}.tmp"
    ours = left_over.with_name(f".run_01.npz{storage._PROCESS}{os.getpid()}.tmp")
    for path in (left_over, ours):
        path.write_bytes(b"half")
    storage.remove_stray_temporaries(tmp_path / "out")
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


@pytest.mark.parametrize(
    ("option", "owner"),
    [
        ("--unscaled", "part4_activations.py"),
        ("--drop-epochs=3", "part5_learning_rate.py"),
        ("--samples", "part2_conv.py"),
    ],
)
def test_an_option_of_another_part_names_that_part(option, owner, capsys):
    parser = cli.training_parser("", runs=(1, 1), epochs=(1, 1), batch_size=50, architectures=[])
    with pytest.raises(SystemExit):
        parser.parse_args([option])
    (line,) = capsys.readouterr().err.strip().split("\n")
    assert f"{option.partition('=')[0]} is an option of {owner}" in line


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


def test_part_2_reads_every_version_of_the_format(tmp_path):
    for version in ((1, 0), (2, 0), (3, 0)):
        path = tmp_path / "array.npy"
        with path.open("wb") as file:
            np.lib.format.write_array(file, np.ones((1, 1, 5, 5)), version=version)
        assert storage.read_npy(path, "").shape == (1, 1, 5, 5)
