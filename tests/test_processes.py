"""Many processes, two machines: real torchruns on the loopback address."""

import signal
import socket
import time

import psutil
import pytest
from helpers_faults import PART3, ROOT, SYNTHETIC, assert_succeeds, finish, results, run, start

LONG = (PART3, *SYNTHETIC, "--epochs", 8, "--runs", 12)
pytestmark = pytest.mark.slow


def torchrun(*arguments, script, cwd):
    """Start `script` under torchrun, in a session of its own."""
    program = ("-m", "torch.distributed.run", *arguments, ROOT / script[0])
    return start(program, *script[1:], cwd=cwd, start_new_session=True)


def assert_ends_well(process):
    done = finish(process)
    assert done.returncode == 0, done.stdout + done.stderr


def wait_for_records(out, number, process):
    while len(list(out.rglob("run_*.npz"))) < number:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)  # a look at the folder now and then, no matter how long it takes


def kill_machine(agent):
    """What a power cut does: torchrun and its scripts are gone at once."""
    for process in [*psutil.Process(agent.pid).children(), agent]:
        process.kill()
    agent.wait()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What a process by itself leaves of LONG."""
    folder = tmp_path_factory.mktemp("alone")
    assert_succeeds(run(*LONG, "--out", "out", "--processes", 1, cwd=folder))
    return results(folder / "out")


PART4 = ("part4_activations.py", *SYNTHETIC, "--runs", 2)
PART5 = (
    "part5_learning_rate.py", "--quick", "--dataset", "synthetic", "--arch", "mlp_2",
    "--epochs", 2, "--threads", 1,
)  # fmt: skip


@pytest.mark.parametrize("script", [(PART3, *SYNTHETIC, "--runs", 5), PART4, PART5])
def test_any_number_of_processes_gives_the_same_bits(script, tmp_path):
    """Workers of one process, and processes of torchrun."""
    assert_succeeds(run(*script, "--processes", 1, "--out", tmp_path / "1", cwd=tmp_path))
    expected = results(tmp_path / "1")
    assert sum(name.endswith(".npz") for name in expected) >= 4
    for number in (2, 3):
        out = tmp_path / str(number)
        assert_succeeds(run(*script, "--processes", number, "--out", out, cwd=tmp_path))
        assert results(out) == expected
    shared = (*script, "--out", tmp_path / "shared")
    assert_ends_well(torchrun("--standalone", "--nproc-per-node", 3, script=shared, cwd=tmp_path))
    assert results(tmp_path / "shared") == expected


def test_a_process_that_dies_is_started_again_and_goes_on(alone, tmp_path):
    shared = (*LONG, "--out", tmp_path / "shared")
    options = ("--standalone", "--nproc-per-node", 2, "--max-restarts", 1)
    agent = torchrun(*options, script=shared, cwd=tmp_path)
    wait_for_records(tmp_path / "shared", 3, agent)
    psutil.Process(agent.pid).children()[1].kill()
    assert_ends_well(agent)
    assert results(tmp_path / "shared") == alone


def test_two_machines_one_killed_and_both_started_again(alone, tmp_path):
    """Two torchruns stand for two machines; after the power cut the same commands finish it."""

    def free_port():
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            return listener.getsockname()[1]

    def start_both():
        meeting = f"127.0.0.1:{free_port()}"
        options = ("--rdzv-backend", "c10d", "--rdzv-endpoint", meeting, "--rdzv-id", "homework")
        one_of_two = ("--nnodes", 2, "--nproc-per-node", 1, *options)
        script = (*LONG, "--out", tmp_path / "shared")
        return [torchrun(*one_of_two, script=script, cwd=tmp_path) for _ in range(2)]

    survivor, victim = start_both()
    wait_for_records(tmp_path / "shared", 3, survivor)
    kill_machine(victim)
    survivor.send_signal(signal.SIGTERM)
    survivor.wait()
    before = results(tmp_path / "shared")
    assert 3 <= len(before) < 12
    for agent in start_both():
        assert_ends_well(agent)
    after = results(tmp_path / "shared")
    assert after == alone
    assert before.items() <= after.items()


def test_without_torchrun_rank_and_world_size_do(tmp_path):
    """As in the jobs of a Slurm array."""
    script = (PART3, *SYNTHETIC, "--runs", 4, "--out", tmp_path / "shared")
    first, second = (
        run(*script, cwd=tmp_path, env={"RANK": str(rank), "WORLD_SIZE": "2"}) for rank in (0, 1)
    )
    assert first.returncode == 0, first.stderr
    assert "process 0: its share is done; other processes still train mlp_1" in first.stdout
    assert "figures:" not in first.stdout
    assert_succeeds(second)
    assert (tmp_path / "shared" / "part3_mlp_1.pkl").exists()
