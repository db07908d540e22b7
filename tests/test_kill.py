"""Part 3, killed, stopped, started twice or on a full disk, ends as if nothing had happened."""

import random
import resource
import signal
import subprocess
import time

import pytest
from helpers_faults import (
    PART3,
    ROOT,
    SYNTHETIC,
    assert_one_line,
    assert_succeeds,
    finish,
    is_progress,
    mount,
    results,
    run,
    start,
)

RUNS = 16
OPTIONS = (*SYNTHETIC, "--runs", RUNS, "--processes", 1, "--out")  # one after the other
STOPPED = "stopped; what is finished is kept"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a process that nobody disturbed leaves, and the seconds it takes."""
    folder, started = tmp_path_factory.mktemp("undisturbed"), time.monotonic()
    assert_succeeds(run(PART3, *OPTIONS, "out", cwd=folder))
    return results(folder / "out"), time.monotonic() - started


def temporaries(out):
    return [name for name in results(out) if name.endswith(".tmp")]


def assert_whole(out, expected):
    """What has its final name is what it has to be; how many records there are."""
    found = results(out)
    for name in set(found) - set(temporaries(out)):
        assert found[name] == expected[name], name
    return sum(name.endswith(".npz") for name in found)


def assert_complete(out, expected):
    """All that has to be there is, and nothing else."""
    assert sorted(results(out)) == sorted(expected)
    assert_whole(out, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "times"),
    [(signal.SIGKILL, -9, 10), (signal.SIGINT, 130, 3), (signal.SIGTERM, 143, 3)],
)
def test_signals_at_random_moments_change_nothing(number, status, times, undisturbed, tmp_path):
    """Every process goes on where the last one was stopped; if one gets through, all begins anew.

    The signal comes after none to three records, the gentle ones after at least one, and a random
    while.
    """
    (expected, seconds), generator = undisturbed, random.Random(6)
    fewest = 0 if number == signal.SIGKILL else 1
    out, stopped, partly_recorded = tmp_path / "out", 0, 0
    while stopped < times:
        process = start(PART3, *OPTIONS, out, cwd=tmp_path)
        num_lines = generator.randint(fewest, 3)
        printed = "".join(process.stdout.readline() for _ in range(num_lines))
        time.sleep(generator.uniform(0, seconds / (RUNS if num_lines else 2)))
        process.send_signal(number)
        done = finish(process)
        if "figures:" in printed + done.stdout:
            assert_complete(out, expected)
            out = out.with_name(out.name + "_anew")
            continue
        stopped += 1
        partly_recorded += 0 < assert_whole(out, expected) < RUNS
        if number == signal.SIGKILL:
            assert done.returncode == status, done.stderr
        else:
            assert_one_line(done, status, STOPPED)
    assert partly_recorded >= times // 3
    assert_succeeds(run(PART3, *OPTIONS, out, cwd=tmp_path))
    assert_complete(out, expected)


# A script that gets a Ctrl-C when a function of tqdm's is done, or begins.
STOPPED_IN_THE_BAR = """
import os, runpy, signal, sys
moment, function = sys.argv[1:3]
del sys.argv[:3]
def stop(frame, event, argument):
    if event == moment and frame.f_code.co_name == function and "tqdm" in frame.f_code.co_filename:
        sys.setprofile(None)
        os.kill(os.getpid(), signal.SIGINT)
sys.setprofile(stop)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(("moment", "function"), [("return", "refresh"), ("call", "close")])
def test_ctrl_c_while_a_bar_begins_or_ends_is_one_line(moment, function, tmp_path):
    program = ("-c", STOPPED_IN_THE_BAR, moment, function, ROOT / PART3)
    process = start(program, *SYNTHETIC, "--runs", 1, cwd=tmp_path)  # in the process itself
    assert_one_line(finish(process), 130, f"{PART3}: {STOPPED}")


# A script whose process the kernel kills at a certain moment.
KILLED_AT_AN_EVENT = """
import os, runpy, signal, sys
script, moment, name = sys.argv[1:4]
del sys.argv[:1], sys.argv[1:3]
def kill(event, arguments):
    if event == moment and name in str(arguments):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
runpy.run_path(script, run_name="__main__")
"""


@pytest.mark.slow
def test_kills_while_files_are_written_change_nothing(undisturbed, tmp_path):
    expected, _ = undisturbed
    out, command = tmp_path / "out", (ROOT / PART3, *OPTIONS, tmp_path / "out")
    for moment, name in [  # the kill comes before what the event announces
        ("open", ".run_00.npz."),
        ("os.rename", "run_03.npz"),
        ("os.remove", "run_07.npz"),
        ("os.rename", "part3_mlp_1.pkl"),
        ("os.rename", "part3.png"),
        ("os.remove", "part3_spread.png"),
    ]:
        program = ("-c", KILLED_AT_AN_EVENT, command[0], moment, name)
        assert run(program, *command[1:], cwd=tmp_path).returncode == -signal.SIGKILL
        assert_whole(out, expected)
        assert len(temporaries(out)) == (moment == "os.rename")
    done = run(PART3, *OPTIONS, out, cwd=tmp_path)
    assert_succeeds(done)
    assert "test accuracy" not in done.stdout
    assert_complete(out, expected)


def limit(size):
    """Options of a process whose files cannot grow over `size` bytes."""
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))}


@pytest.mark.slow
def test_files_that_cannot_grow(undisturbed, tmp_path):
    command = (PART3, *OPTIONS, "out")
    assert_succeeds(run(*command, "--runs", 2, cwd=tmp_path))
    before = results(tmp_path / "out")
    done = run(*command, cwd=tmp_path, **limit(100_000))
    assert_one_line(done, 1, "run_02.npz: cannot be written (File too large)")
    done = run(*command, "--runs", 2, "--plot-only", cwd=tmp_path, **limit(10_000))
    assert_one_line(done, 1, "part3_architectures.py: out/part3.png: File too large")
    assert results(tmp_path / "out") == before
    assert_succeeds(run(*command, cwd=tmp_path))
    assert_complete(tmp_path / "out", undisturbed[0])


@pytest.mark.slow
def test_a_full_disk(undisturbed, tmp_path):
    command = (PART3, *OPTIONS, "out")
    mount("-t", "tmpfs", "-o", "size=320k", "tmpfs", tmp_path)
    try:
        for _ in range(2):  # it is still full when the process starts again
            done = run(*command, cwd=tmp_path)
            assert_one_line(done, 1, "run_02.npz: cannot be written (the disk is full)")
            assert assert_whole(tmp_path / "out", undisturbed[0]) == 2
        mount("-o", "remount,size=10m", tmp_path)
        assert_succeeds(run(*command, cwd=tmp_path))
        assert_complete(tmp_path / "out", undisturbed[0])
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.slow
def test_two_processes_on_one_folder_by_mistake(undisturbed, tmp_path):
    both = [start(PART3, *OPTIONS, "out", cwd=tmp_path) for _ in range(2)]
    for done in map(finish, both):
        assert_succeeds(done)
        assert "test accuracy" in done.stdout
    assert_complete(tmp_path / "out", undisturbed[0])


@pytest.mark.slow
def test_a_process_that_wakes_up_late_overwrites_nothing(undisturbed, tmp_path):
    """It sleeps in its run 0, of other length, while another process begins and ends."""
    late = start(PART3, *OPTIONS, "out", "--epochs", 20, cwd=tmp_path)
    while not is_progress(line := late.stderr.readline()):
        assert line
    late.send_signal(signal.SIGSTOP)
    assert_succeeds(run(PART3, *OPTIONS, "out", cwd=tmp_path))
    late.send_signal(signal.SIGCONT)
    assert_one_line(finish(late), 1, "run_00.npz: recorded with epochs 1, now it is", "--out")
    assert_complete(tmp_path / "out", undisturbed[0])
