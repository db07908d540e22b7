"""The command lines: options, errors in one line, launchers, devices, cores."""

import os
import re
from argparse import Namespace

from experiments import cli, runner

import psutil
import pytest
import torch
from conftest import TINY, TRAINING_SCRIPTS, call_script
from helpers_faults import assert_one_line, run

SCRIPTS = ("part2_conv.py", *TRAINING_SCRIPTS)
PART3, PART4, PART5 = TRAINING_SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_explains_every_option(script):
    text = call_script(script, "--help").stdout
    options = ["--out", "--plot-only"]
    if script != "part2_conv.py":
        options += ["--arch", "--runs", "--epochs", "--batch-size", "--seed", "--dataset"]
        options += ["--data-dir", "--device", "--processes", "--threads", "--quick"]
    for option in options:
        assert re.search(rf"\n  {option} .*\n?.*[a-z]", text), option


@pytest.mark.parametrize(
    ("script", "arguments", "named"),
    [
        (PART3, ("--epochs", "0"), "--epochs: '0'"),
        (PART3, ("--runs", "ten"), "--runs: 'ten'"),
        (PART3, ("--processes", "0"), "--processes: '0'"),
        (PART3, ("--arch", "cnn_9"), "cnn_9"),
        (PART3, ("--ep", "1"), "--ep"),
        (PART4, ("--device", "tpu"), "'tpu' is not auto, cpu, cuda, cuda:N or mps"),
        (PART4, ("--device", "cuda:99"), "cuda:99"),
        (PART4, ("--seed", "-1"), "--seed"),
        (PART4, ("--unscaled", "--initialized"), "--initialized: not allowed with"),
        (PART5, ("--threads", "100000"), "--threads: 100000, but there are"),
        (PART5, ("--arch", "mlp_1"), "mlp_1"),
        (PART5, ("--drop-epochs", "9", "4"), "--drop-epochs: A < B < 30"),
        (PART5, ("--drop-epochs", "9", "30"), "--drop-epochs: A < B < 30"),
        (PART5, ("--learning-rate", "1"), "--learning-rate"),
        (PART3, ("--out", ""), "--out: '' is not the name of a file or folder"),
        (PART3, ("--data-dir", ""), "--data-dir: '' is not the name of a file or folder"),
        ("part2_conv.py", ("--samples",), "--samples"),
        (PART3, ("--samples",), "--samples is an option of part2_conv.py"),
        (PART3, ("--unscaled",), "--unscaled is an option of part4_activations.py"),
        (PART4, ("--drop-epochs=3",), "--drop-epochs is an option of part5_learning_rate.py"),
    ],
)
def test_a_bad_value_ends_with_one_line_and_status_2(script, arguments, named, tmp_path):
    done = call_script(script, "--out", tmp_path / "out", *arguments, cwd=tmp_path, status=2)
    assert_one_line(done, 2, f"{script}: error: ", named)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("out", ["file/below", "file", "/proc"])
@pytest.mark.parametrize("script", ["part2_conv.py", PART3])
def test_a_folder_that_cannot_be_written_to_is_noticed_before_training(script, out, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = call_script(script, "--out", out, cwd=tmp_path, status=2)
    assert_one_line(done, 2, f"argument --out: {out} cannot be written to")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("script", "arguments", "mentioned"),
    [
        (
            "part2_conv.py",
            ("--samples", "none.npy"),
            ("none.npy: not a readable .npy file (No such file", "input is built in"),
        ),
        (
            "part2_conv.py",
            ("--plot-only",),
            ("part2_out.npy: not a readable .npy file", "without --plot-only"),
        ),
        (PART3, ("--plot-only",), ("run_00.npz: not recorded yet", "without --plot-only")),
        (PART5, ("--plot-only",), ("cnn_4_lr_0.1/run_00.npz: not recorded yet",)),
        (
            PART3,
            ("--dataset", "synthetic", "--quick", "--epochs", 1, "--batch-size", 500),
            ("9 steps in all", "take more --epochs or a smaller --batch-size"),
        ),
    ],
)
def test_what_cannot_be_done_is_one_line_with_a_way_out(script, arguments, mentioned, tmp_path):
    out = tmp_path / "out"
    done = call_script(script, *arguments, "--out", out, status=1)
    assert_one_line(done, 1, *mentioned)
    assert not list(out.rglob("*.npz"))


def test_each_kind_of_results_has_its_own_folder(tmp_path):
    call_script("part2_conv.py", cwd=tmp_path)
    call_script(PART3, *TINY, "--arch", "mlp_1", "--runs", 1, "--epochs", 1, cwd=tmp_path)
    (folder,) = (tmp_path / "results").iterdir()
    assert folder.name == "synthetic"
    assert (folder / "part3_mlp_1.pkl").exists()
    folders = [str(cli.default_out(d, q)) for d in ("cifar10", "synthetic") for q in (False, True)]
    assert folders == ["results", "results/quick", "results/synthetic-full", "results/synthetic"]


def test_torch_and_torchvision_that_do_not_belong_together(tmp_path):
    """A torchvision of another torch build fails like this when it is imported."""
    (tmp_path / "torchvision").mkdir()
    failing = "raise RuntimeError('operator torchvision::nms does not exist')"
    (tmp_path / "torchvision" / "__init__.py").write_text(failing)
    search = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    arguments = ("--arch", "mlp_1", "--data-dir", tmp_path / "none", "--out", tmp_path / "out")
    done = run(PART3, *arguments, cwd=tmp_path, env={"PYTHONPATH": search})
    assert_one_line(done, 1, "operator torchvision::nms does not exist",
                    "pip install --force-reinstall torch torchvision")  # fmt: skip


# ---- Launchers, devices, cores


@pytest.fixture
def parse(monkeypatch, tmp_path):
    """Reads a command line, on a machine with 12 cores, as the process that torchrun numbers so."""
    parser = cli.training_parser(
        "", runs=(1, 1), epochs=(1, 1), batch_size=50, architectures=["mlp_1"]
    )
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(12)), raising=False)
    monkeypatch.setattr(cli, "CPU_SHARE", tmp_path / "no container")

    def parse(*arguments, **environment):
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, str(value))
        return cli.parse_training_options(parser, ["--out", str(tmp_path), *arguments])

    return parse


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"RANK": 1}, "RANK and WORLD_SIZE: one is set without the other"),
        ({"WORLD_SIZE": 2}, "RANK and WORLD_SIZE: one is set without the other"),
        ({"RANK": 2, "WORLD_SIZE": 2}, "RANK: 2 is not less than WORLD_SIZE, 2"),
        ({"RANK": 0, "WORLD_SIZE": 0}, "WORLD_SIZE: '0' is not a whole number from 1"),
        ({"RANK": "x", "WORLD_SIZE": 2}, "RANK: 'x' is not a whole number from 0"),
        ({"RANK": "9" * 5000, "WORLD_SIZE": 2}, "is not a whole number"),
        ({"RANK": 0, "WORLD_SIZE": -1}, "WORLD_SIZE: '-1' is not a whole number"),
        ({"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": ""}, "LOCAL_RANK: '' is not a whole number"),
    ],
)
def test_a_launcher_that_numbers_wrongly_is_refused_in_one_line(environment, named, parse, capsys):
    with pytest.raises(SystemExit) as end:
        parse("--device", "cpu", **environment)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.strip().split("\n")
    assert named in line


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


def test_processes_of_one_machine_take_its_gpus_in_turn(parse, gpus):
    second_machine = {"WORLD_SIZE": 8, "LOCAL_WORLD_SIZE": 4}
    for local_rank, gpu in enumerate((0, 1, 0, 1)):
        options = parse(RANK=3 + local_rank, LOCAL_RANK=local_rank, **second_machine)
        assert options.torch_device == torch.device("cuda", gpu)
        assert (options.rank, options.world_size) == (3 + local_rank, 8)
    assert parse("--device", "cuda:1").torch_device == torch.device("cuda", 1)
    assert parse("--device", "cpu").torch_device == torch.device("cpu")
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_gpu_that_cannot_be_used_is_one_line_with_the_way_out(parse, gpus, monkeypatch, capsys):
    def fail(*_, **__):
        raise RuntimeError("CUDA error: no kernel image is available\nCUDA kernel errors might")

    monkeypatch.setattr(torch, "zeros", fail)
    with pytest.raises(SystemExit):
        parse()
    (line,) = capsys.readouterr().err.strip().split("\n")
    assert "cuda:0: cannot be used (CUDA error: no kernel image is available); try" in line


def test_there_is_a_worker_for_every_gpu_or_for_the_one_that_is_named(parse, gpus):
    for arguments, missing, processes in (
        ((), 5, 2), ((), 1, 1), (("--device", "cuda:1"), 5, 1), (("--processes", "4"), 5, 4),
    ):  # fmt: skip
        assert runner.num_processes(parse(*arguments), missing) == processes


@pytest.mark.parametrize(
    ("arguments", "local_world_size", "threads"),
    [
        ((), None, 1),
        (("--threads", "5"), None, 5),
        (("--processes", "4"), None, 3),
        (("--processes", "1"), None, 12),
        ((), 2, 6),
        ((), 5, 2),
        ((), 16, 1),
        (("--processes", "3"), 2, 2),
        (("--threads", "5"), 4, 5),
    ],
)
def test_processes_of_one_machine_share_its_cores(arguments, local_world_size, threads, parse):
    size = local_world_size
    launcher = {"RANK": 0, "WORLD_SIZE": 2 * size, "LOCAL_WORLD_SIZE": size} if size else {}
    assert parse("--device", "cpu", *arguments, **launcher).threads == threads


@pytest.mark.parametrize(
    ("arguments", "missing", "gigabytes", "processes"),
    [
        ((), 50, 100, 12),
        ((), 5, 100, 5),
        ((), 50, 5, 3),
        ((), 50, 1, 1),
        (("--threads", "5"), 50, 100, 2),
        (("--processes", "20"), 50, 1, 20),
        (("--processes", "20"), 3, 1, 3),
    ],
)
def test_there_is_a_worker_for_every_core_unless_memory_or_work_lacks(
    arguments, missing, gigabytes, processes, parse, monkeypatch
):
    memory = Namespace(available=gigabytes * 10**9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    options = parse("--device", "cpu", *arguments)
    assert runner.num_processes(options, missing) == processes


@pytest.mark.parametrize(
    ("share", "cores"),
    [("200000 100000", 2), ("50000 100000", 1), ("9900000 100000", 12), ("max 100000", 12)],
)
def test_a_container_uses_its_share_of_the_cores(share, cores, parse, monkeypatch, tmp_path):
    (tmp_path / "cpu.max").write_text(f"{share}\n")
    monkeypatch.setattr(cli, "CPU_SHARE", tmp_path / "cpu.max")
    assert cli.num_cores() == cores


def test_under_torchrun_a_process_trains_by_itself(parse):
    options = parse("--device", "cpu", RANK=1, WORLD_SIZE=2)
    assert runner.num_processes(options, 50) == 1
