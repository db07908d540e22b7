"""Part 3 in several processes, stopped, killed, started twice: as if nothing had happened."""

import os
import resource
import signal

import psutil
import pytest
from helpers_faults import (
    PART3,
    ROOT,
    SYNTHETIC,
    assert_one_line,
    assert_succeeds,
    finish,
    results,
    run,
    start,
)

OPTIONS = (*SYNTHETIC, "--epochs", 15, "--runs", 5, "--out", "out")
ONE, TWO = (*OPTIONS, "--processes", 1), (*OPTIONS, "--processes", 2)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a process leaves that trains one network after the other and that nobody disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert_succeeds(run(PART3, *ONE, cwd=folder))
    return results(folder / "out")


def family(process):
    """The processes that live in the session that a script began, by its process number."""
    found = []
    for other in psutil.process_iter():
        try:
            if os.getsid(other.pid) == process.pid and other.status() != psutil.STATUS_ZOMBIE:
                found.append(other)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def assert_all_end(process):
    """Wait until a script and all that it started have ended. Returns what it said."""
    process.wait()
    _, alive = psutil.wait_procs(family(process), timeout=60)
    assert not alive
    return finish(process)


def assert_whole(folder, undisturbed):
    """All that is there is what it has to be. Returns how many records there are."""
    found = results(folder / "out")
    assert found.items() <= undisturbed.items()
    return sum(name.endswith(".npz") for name in found)


def busy_workers(process):
    """The workers of a script that import PyTorch, or have done so."""
    found = []
    for child in psutil.Process(process.pid).children():
        try:
            if "spawn_main" in " ".join(child.cmdline()) and child.memory_info().rss > 50_000_000:
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def start_until(moment, cwd):
    """Start a script with two workers in a session of its own.

    moment: "starting" is while both import PyTorch, "training" when a first one has finished.
    """
    process = start(PART3, *TWO, cwd=cwd, start_new_session=True)
    if moment == "training":
        process.stdout.readline()
    while len(busy_workers(process)) < 2:
        assert process.poll() is None, process.communicate()
    return process


def test_two_workers_or_processes_of_torchrun_leave_the_same_bits(undisturbed, tmp_path):
    assert_succeeds(run(PART3, *TWO, cwd=tmp_path))
    assert results(tmp_path / "out") == undisturbed
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, ROOT / PART3)
    done = run(torchrun, *OPTIONS, "--out", "shared", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "shared") == undisturbed


@pytest.mark.parametrize("moment", ["starting", "training"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_all_and_the_repeated_command_goes_on(number, moment, undisturbed, tmp_path):
    """A terminal sends Ctrl-C to the whole group, `kill` sends a signal to the script."""
    process = start_until(moment, tmp_path)
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    done = assert_all_end(process)
    if number == signal.SIGKILL:
        assert done.returncode == -number
    else:
        assert_one_line(done, 128 + number, "stopped", "repeat the command")
    assert bool(assert_whole(tmp_path, undisturbed)) == (moment == "training")
    if (number, moment) == (signal.SIGKILL, "training"):
        assert_succeeds(run(PART3, *ONE, cwd=tmp_path))
        assert results(tmp_path / "out") == undisturbed


# A script that gets a Ctrl-C when it has just started its first worker. Another thread, that of the
# progress bar, takes the signal, as may happen
STOPPED_WHILE_IT_STARTS = """
import runpy, signal, sys, threading, time
started = []
def stop(frame, event, argument):
    if event == "return" and frame.f_code.co_name == "spawnv_passfds":
        started.append(frame)
        if len(started) == 2:  # the first one is multiprocessing's own
            signal.pthread_kill(threading.enumerate()[1].ident, signal.SIGINT)
            time.sleep(0.001)  # for Python to see it
sys.setprofile(stop)
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def test_ctrl_c_between_the_starts_of_two_workers_leaves_no_process(tmp_path):
    program = ("-c", STOPPED_WHILE_IT_STARTS, ROOT / PART3)
    process = start(program, *TWO, cwd=tmp_path, start_new_session=True)
    assert_one_line(assert_all_end(process), 130, "stopped", "repeat the command")


# A script that the kernel kills at a certain moment
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


def test_kills_while_files_are_written_change_nothing(undisturbed, tmp_path):
    for moment, name in [  # the kill comes before what the event announces
        ("open", ".run_00.npz."),
        ("os.rename", "run_03.npz"),
        ("os.rename", "part3_mlp_1.pkl"),
        ("os.rename", "part3.png"),
    ]:
        program = ("-c", KILLED_AT_AN_EVENT, ROOT / PART3, moment, name)
        assert run(program, *ONE, cwd=tmp_path).returncode == -signal.SIGKILL
        assert_whole(tmp_path, undisturbed)
    done = run(PART3, *ONE, cwd=tmp_path)
    assert_succeeds(done)
    assert "test accuracy" not in done.stdout
    assert results(tmp_path / "out") == undisturbed


def test_files_that_cannot_grow_as_on_a_full_disk(undisturbed, tmp_path):
    small = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (99_000, 99_000))}
    done = run(PART3, *TWO, "--runs", 2, cwd=tmp_path, **small)
    assert_one_line(done, 1, "part3 mlp_1 run_0", "and 1 more", ".npz", "File too large")
    assert_whole(tmp_path, undisturbed)
    assert_succeeds(run(PART3, *ONE, cwd=tmp_path))
    assert results(tmp_path / "out") == undisturbed


def test_two_processes_on_one_folder_delete_nothing_of_each_other(undisturbed, tmp_path):
    """A third one, of another machine perhaps, is writing a record at the same time."""
    half = tmp_path / "out" / "runs" / "part3" / "mlp_1" / ".run_02.npz.1.tmp"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    both = [start(PART3, *ONE, cwd=tmp_path) for _ in range(2)]
    for done in map(finish, both):
        assert_succeeds(done)
        assert "test accuracy" in done.stdout
    assert results(tmp_path / "out") == undisturbed
    assert half.read_bytes() == b"half"
