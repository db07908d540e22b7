"""Many processes, two machines: real torchruns on the loopback address."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from helpers_faults import ROOT, SYNTHETIC, environment, results, run

PART3 = ("part3_architectures.py", *SYNTHETIC)
PART4 = ("part4_activations.py", *SYNTHETIC)
PART5 = ("part5_learning_rate.py", *(word.replace("mlp_1", "mlp_2") for word in SYNTHETIC))
pytestmark = pytest.mark.slow


def torchrun(*arguments, script, cwd):
    """Start `script` under torchrun, in a session of its own, output into a file."""
    command = [sys.executable, "-m", "torch.distributed.run", *map(str, arguments)]
    log = open(cwd / f"log_{time.monotonic_ns()}", "w+")  # noqa: SIM115
    process = subprocess.Popen(
        [*command, str(ROOT / script[0]), *map(str, script[1:])],
        cwd=cwd, env=environment(), stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    process.log = log
    return process


def text(process):
    process.log.seek(0)
    return process.log.read()


def assert_ends_well(process):
    assert process.wait() == 0, text(process)


def wait_for_records(out, number, process):
    while len(list(out.rglob("run_*.npz"))) < number:
        assert process.poll() is None, text(process)
        time.sleep(0.02)  # a look at the folder now and then, no matter how long it takes


def workers(agent):
    """The process numbers of the scripts that a torchrun has started."""
    children = f"/proc/{agent.pid}/task/{agent.pid}/children"
    with open(children) as file:
        return [int(number) for number in file.read().split()]


def kill_machine(agent):
    """What a power cut does: torchrun and its scripts are gone at once."""
    for number in [*workers(agent), agent.pid]:
        os.kill(number, signal.SIGKILL)
    agent.wait()


def assert_succeeds(done):
    assert done.returncode == 0, done.stdout + done.stderr


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize("script", [(*PART3, "--runs", 5), PART4, PART5])
def test_any_number_of_processes_gives_the_same_results(script, tmp_path):
    assert_succeeds(run(*script, "--out", tmp_path / "alone", cwd=tmp_path))
    expected = results(tmp_path / "alone")
    assert sum(name.endswith(".npz") for name in expected) >= 2
    for number in (2, 3):
        out = tmp_path / f"shared_by_{number}"
        shared = (*script, "--out", out)
        agent = torchrun("--standalone", "--nproc-per-node", number, script=shared, cwd=tmp_path)
        assert_ends_well(agent)
        assert results(out) == expected


def test_a_process_that_dies_is_started_again_and_goes_on(tmp_path):
    script = (*PART3, "--epochs", 8, "--runs", 12)
    assert_succeeds(run(*script, "--out", tmp_path / "alone", cwd=tmp_path))
    shared = (*script, "--out", tmp_path / "shared")
    options = ("--standalone", "--nproc-per-node", 2, "--max-restarts", 1)
    agent = torchrun(*options, script=shared, cwd=tmp_path)
    wait_for_records(tmp_path / "shared", 3, agent)
    os.kill(workers(agent)[1], signal.SIGKILL)
    assert_ends_well(agent)
    assert results(tmp_path / "shared") == results(tmp_path / "alone")


def test_two_machines_one_killed_and_both_started_again(tmp_path):
    """Two torchruns stand for two machines; after the power cut the same commands finish it."""
    script = (*PART3, "--epochs", 8, "--runs", 12, "--out", tmp_path / "shared")
    assert_succeeds(run(*script[:-1], tmp_path / "alone", cwd=tmp_path))

    def start_both():
        meeting = f"127.0.0.1:{free_port()}"
        options = ("--rdzv-backend", "c10d", "--rdzv-endpoint", meeting, "--rdzv-id", "homework")
        one_of_two = ("--nnodes", 2, "--nproc-per-node", 1, *options)
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
    assert after == results(tmp_path / "alone")
    assert before.items() <= after.items()


def test_without_torchrun_rank_and_world_size_do(tmp_path):
    """As in the jobs of a Slurm array."""
    script = (*PART3, "--runs", 4, "--out", tmp_path / "shared")
    first, second = (
        run(*script, cwd=tmp_path, env={"RANK": str(rank), "WORLD_SIZE": "2"}) for rank in (0, 1)
    )
    assert_succeeds(first)
    assert "process 0: its share is done; other processes still train mlp_1" in first.stdout
    assert "figures:" not in first.stdout
    assert_succeeds(second)
    assert (tmp_path / "shared" / "part3_mlp_1.pkl").exists()
