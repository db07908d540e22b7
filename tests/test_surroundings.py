"""What surrounds a run: notebooks, terminals that go away, settings, launchers, limits, slips."""

import errno
import os
import pty
import signal
import subprocess

import pytest
from conftest import call_script
from helpers_faults import (
    PART3,
    ROOT,
    SYNTHETIC,
    assert_one_line,
    assert_succeeds,
    command,
    environment,
    run,
    start,
    with_mounts,
)
from jupyter_client.manager import run_kernel

from experiments import ends

INLINE = "module://matplotlib_inline.backend_inline"  # what a notebook exports as MPLBACKEND
ONE, TWO = ((*SYNTHETIC, "--out", "out", "--processes", number) for number in (1, 2))


# ---- Who starts a script


@pytest.mark.slow
def test_a_notebook_runs_a_script_in_workers_and_stays_as_it_was(tmp_path):
    cell = f"""
import signal, matplotlib
before = signal.getsignal(signal.SIGINT)
%run {ROOT / PART3} {" ".join(map(str, TWO))}
%run {ROOT / PART3} {" ".join(map(str, TWO))} --arch mlp_2
print(signal.getsignal(signal.SIGINT) is before, matplotlib.get_backend())
"""
    messages = []
    with run_kernel(cwd=str(tmp_path), env=environment(MPLBACKEND=INLINE)) as client:
        client.execute_interactive(cell, output_hook=messages.append, timeout=600)
    shown = [message["content"] for message in messages]
    said = "".join(c.get("text") or "".join(c.get("traceback", [])) for c in shown)
    for name in ("mlp_1", "mlp_2"):
        assert f"{name} run_01: test accuracy" in said
    assert "Traceback" not in said
    assert said.endswith(f"True {INLINE}\n")
    assert (tmp_path / "out" / "part3.png").exists()


@pytest.mark.slow
def test_under_a_profiler_workers_train(tmp_path):
    assert_succeeds(run(("-m", "cProfile", ROOT / PART3), *TWO, cwd=tmp_path))
    assert (tmp_path / "out" / "part3_mlp_1.pkl").exists()


@pytest.mark.slow
def test_a_script_from_standard_input_is_told_why_it_has_no_workers(tmp_path):
    with open(ROOT / PART3) as script:
        done = run(("-",), *TWO, cwd=tmp_path, stdin=script)
    assert_one_line(done, 1, "<stdin>", "import", "--processes 1")


# ---- What it may use


@pytest.mark.slow
def test_a_full_shared_memory_is_named_with_the_way_out(tmp_path):
    tiny = with_mounts("mount -t tmpfs -o size=4k tmpfs /dev/shm")
    done = run(PART3, *TWO, cwd=tmp_path, before=tiny)
    assert_one_line(done, 1, "no worker", "/dev/shm", os.strerror(errno.ENOSPC), "--processes 1")
    assert_succeeds(run(PART3, *ONE, cwd=tmp_path, before=tiny))


def test_results_are_the_same_whatever_personal_settings_and_a_notebook_say(tmp_path):
    """A notebook's `!` hands its MPLBACKEND on, which another Python may not have.

    The folder's name is no text in any language.
    """
    settings = tmp_path / "matplotlibrc"
    settings.write_text("text.usetex: True\nsavefig.transparent: True\nlines.linewidth: 9\n")
    personal = {"MPLBACKEND": "module://of_a_notebook", "PYTHONIOENCODING": "ascii"}
    call_script("part2_conv.py", "--out", "plain", cwd=tmp_path)
    personal["MATPLOTLIBRC"] = str(settings)
    assert_succeeds(run("part2_conv.py", "--out", "\udcff", cwd=tmp_path, env=personal))
    pictures = {(tmp_path / out / "part2.png").read_bytes() for out in ("plain", "\udcff")}
    assert len(pictures) == 1


# ---- Whom it tells


@pytest.mark.slow
@pytest.mark.parametrize(
    ("closed", "options"),
    [(">/dev/full 2>/dev/full", ONE), (">&- 2>&-", TWO), ("2>/dev/full | head -n 0", TWO)],
)
def test_a_script_whose_output_is_full_or_closed_does_its_work(closed, options, tmp_path):
    line = ["bash", "-o", "pipefail", "-c", f'"$@" {closed}', "bash", *command(PART3, *options)]
    done = subprocess.run(line, cwd=tmp_path, env=environment())
    assert done.returncode == 0
    assert (tmp_path / "out" / "part3_mlp_1.pkl").exists()


@pytest.mark.slow
def test_a_terminal_that_goes_away_stops_nothing(tmp_path):
    ours, its = pty.openpty()
    process = start(PART3, *ONE, cwd=tmp_path, stdout=its, stderr=its)
    os.close(its)
    assert os.read(ours, 1)  # the bar begins
    os.close(ours)
    assert process.wait() == 0
    assert (tmp_path / "out" / "part3_mlp_1.pkl").exists()


@pytest.mark.parametrize(
    ("error", "way_out"),
    [
        (RuntimeError("can't start new thread"), "--processes 1"),
        (MemoryError("8 GB"), "--processes"),
        (RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"), "--batch-size"),
        (RuntimeError("CUDA error: an illegal memory access\nCUDA kernel"), "--device cpu"),
    ],
)
def test_limits_and_failures_of_a_machine_are_one_line_with_the_way_out(error, way_out):
    line = ends.explain(error)
    assert way_out in line
    assert str(error).split("\n")[0] in line
    assert "\n" not in line


def test_a_fault_of_ours_keeps_its_traceback_and_the_handlers_are_restored():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(RuntimeError, match="sizes do not match"):
        ends.run(lambda: (_ for _ in ()).throw(RuntimeError("sizes do not match")))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
