"""The command lines: options, launchers, devices, the machine's share."""

import re
from pathlib import Path

import pytest
import torch
from conftest import TINY, TRAINING_SCRIPTS, call_script
from helpers_faults import assert_one_line, assert_succeeds, run, with_mounts

from experiments.device import num_workers, select_device
from experiments.options import path
from experiments.storage import UserError

PART3, PART4, PART5 = TRAINING_SCRIPTS
MLP_1 = (*TINY, "--arch", "mlp_1", "--epochs", 1)


@pytest.mark.parametrize("script", ["part2_conv.py", *TRAINING_SCRIPTS])
def test_help_explains_the_options(script):
    assert "--out" in call_script(script, "--help").stdout


@pytest.mark.parametrize(
    ("script", "arguments", "named"),
    [
        (PART3, ("--epochs", "0"), ("--epochs", "'0'", "from 1")),
        (PART3, ("--arch", "cnn_3", "cnn_9"), ("--arch", "'cnn_9'", "cnn_4")),
        (PART3, ("--out", ""), ("--out", "''")),
        (PART3, ("--drop-epochs", "3", "4"), ("--drop-epochs",)),  # an option of part 5
        (PART4, ("--device", "tpu"), ("--device", "'tpu'", "cpu, cuda")),
        (PART4, ("--device", "cuda:99"), ("--device", "cuda:99", "--device auto")),
        (PART4, ("--unscaled", "--initialized"), ("--unscaled", "--initialized")),
        (PART5, ("--threads", "100000"), ("--threads", "100000", "cores")),
        (PART5, ("--arch", "mlp_1"), ("--arch", "'mlp_1'", "mlp_2")),
        (PART5, ("--drop-epochs", "9", "4"), ("--drop-epochs", "[9, 4]", "A < B < 30")),
        ("part2_conv.py", ("--samples",), ("--samples",)),
    ],
)
def test_a_bad_value_is_one_line_with_the_options_name(script, arguments, named, tmp_path):
    done = call_script(script, "--out", tmp_path / "out", *arguments, cwd=tmp_path, status=2)
    assert_one_line(done, 2, script, *named, "--help")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("script", ["part2_conv.py", PART3])
@pytest.mark.parametrize("out", ["file/below", "/proc"])
def test_a_folder_that_cannot_be_written_to_is_noticed_before_training(script, out, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = call_script(script, "--out", out, cwd=tmp_path, status=2)
    assert_one_line(done, 2, "--out", out)


def test_a_run_too_short_for_a_curve_is_refused_before_training(tmp_path):
    done = call_script(PART3, *MLP_1, "--batch-size", 500, "--out", tmp_path, status=1)
    assert_one_line(done, 1, "9 steps", "--epochs", "--batch-size")


def test_a_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert path("~/images.npy") == Path("/somewhere/images.npy")


def test_each_kind_of_results_has_its_own_folder(tmp_path):
    for arguments, folder in (
        ((), "results"),
        (("--quick",), "results/quick"),
        (("--dataset", "synthetic"), "results/synthetic-full"),
        (("--dataset", "synthetic", "--quick"), "results/synthetic"),
    ):
        done = call_script(PART3, "--plot-only", *arguments, cwd=tmp_path, status=1)
        assert f" {folder}: " in done.stderr


# ---- Many processes, as torchrun or an array of jobs starts them


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"RANK": "1"}, ("RANK", "WORLD_SIZE", "both")),
        ({"RANK": "2", "WORLD_SIZE": "2"}, ("RANK < WORLD_SIZE",)),
        ({"RANK": "0", "WORLD_SIZE": "two"}, ("WORLD_SIZE", "'two'")),
    ],
)
def test_a_launcher_that_numbers_wrongly_is_one_line(variables, named, monkeypatch, tmp_path):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    done = call_script(PART3, "--out", tmp_path, status=2)
    assert_one_line(done, 2, "environment variable", *named)


def test_processes_share_the_runs_and_the_last_one_writes_the_results(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = []
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        assert not list(tmp_path.glob("part3*"))
        said.append(call_script(PART3, *MLP_1, "--runs", 3, "--out", tmp_path).stdout)
    assert re.findall(r"run_0\d(?=: test)", said[0]) == ["run_01"]
    assert "others still train part3 mlp_1 run_00" in said[0]
    assert re.findall(r"run_0\d(?=: test)", said[1]) == ["run_00", "run_02"]
    assert (tmp_path / "part3_mlp_1.pkl").exists()
    assert (tmp_path / "part3.png").exists()
    done = call_script(PART5, *TINY, "--arch", "mlp_2", "--out", tmp_path, status=2)
    assert_one_line(done, 2, "--drop-epochs")


# ---- Devices and shares of a machine


@pytest.fixture
def gpus(monkeypatch):
    """A machine with two GPUs."""
    zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda size, device: zeros(size))  # the trial of a GPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for setting, default in (("allow_tf32", True), ("deterministic", False)):
        monkeypatch.setattr(torch.backends.cudnn, setting, default)  # and so set back at the end
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision(before)


def test_workers_take_the_gpus_in_turn_and_calculate_precisely(gpus):
    chosen = [select_device(name, number) for name in ("auto", "cuda") for number in range(3)]
    assert [device.index for device in chosen] == [0, 1, 0, 0, 1, 0]
    assert select_device("cuda:1", 0) == torch.device("cuda", 1)
    assert select_device("cpu", 1) == torch.device("cpu")
    assert [num_workers(name, threads=1) for name in ("auto", "cuda", "cuda:1")] == [2, 2, 1]
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_gpu_that_cannot_be_used_is_one_line_with_the_way_out(gpus, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("CUDA error: no kernel image is available\nCUDA kernel errors might")

    monkeypatch.setattr(torch, "zeros", fail)
    with pytest.raises(UserError, match=r"^.*cuda:0.*no kernel image.*--device cpu$"):
        select_device("auto")


@pytest.mark.slow
@pytest.mark.parametrize(
    "limits",
    [
        {"memory.max": 3_100_000_000, "cpu.max": "100000 100000"},
        {
            "memory/memory.limit_in_bytes": 3_100_000_000,
            "cpu/cpu.cfs_quota_us": 100_000, "cpu/cpu.cfs_period_us": 100_000,
        },
    ],
    ids=["version 2", "version 1"],
)  # fmt: skip
def test_a_containers_limits_count(limits, tmp_path):
    """With one core and 3.1 GB there is a worker; if there were 12 cores there would be two."""
    groups = "mount -t tmpfs tmpfs /sys/fs/cgroup\ncd /sys/fs/cgroup\nmkdir cpu memory"
    lines = [f"echo {value} > {name}" for name, value in limits.items()]
    program = "from experiments import device\nprint(device.num_workers('cpu', 1))\n"
    program += "device.num_cores = lambda: 12\nprint(device.num_workers('cpu', 1))"
    done = run(("-c", program), cwd=tmp_path, before=with_mounts("\n".join([groups, *lines])))
    assert_succeeds(done)
    assert done.stdout.split() == ["1", "2"]
