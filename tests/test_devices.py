"""Which GPU and how many CPU threads a process takes that torchrun has started."""

import os

import pytest
import torch

import cli


@pytest.fixture
def parse(monkeypatch, tmp_path):
    """Reads a command line, on a machine with 12 cores, as the process that torchrun numbers so."""
    before = torch.get_num_threads()
    torch.set_num_threads(7)
    parser = cli.training_parser("", runs=(1, 1), epochs=(1, 1), architectures=["mlp_1"])
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(12)), raising=False)

    def parse(*arguments, **environment):
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, str(value))
        return cli.parse_training_options(parser, ["--out", str(tmp_path), *arguments])

    yield parse
    torch.set_num_threads(before)


def test_processes_of_one_machine_take_its_gpus_in_turn(parse, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    # Other tests import torch's own testing tools, which forbid to set these
    frozen = torch.backends.flags_frozen.__globals__
    monkeypatch.setitem(frozen, "__allow_nonbracketed_mutation_flag", True)
    for setting, default in (("allow_tf32", True), ("deterministic", False)):
        monkeypatch.setattr(torch.backends.cudnn, setting, default)  # and so set back at the end
    second_machine = {"WORLD_SIZE": 8, "LOCAL_WORLD_SIZE": 4}
    for local_rank, gpu in enumerate((0, 1, 0, 1)):
        options = parse(RANK=3 + local_rank, LOCAL_RANK=local_rank, **second_machine)
        assert options.device == torch.device("cuda", gpu)
        assert (options.rank, options.world_size) == (3 + local_rank, 8)
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(("processes", "threads"), [(2, 6), (4, 3), (5, 2), (16, 1)])
def test_processes_of_one_machine_share_its_cores(processes, threads, parse):
    parse("--device", "cpu", RANK=0, WORLD_SIZE=2 * processes, LOCAL_WORLD_SIZE=processes)
    assert torch.get_num_threads() == threads


def test_threads_that_are_asked_for_are_taken(parse):
    parse("--device", "cpu", "--threads", "5", RANK=0, WORLD_SIZE=4, LOCAL_WORLD_SIZE=4)
    assert torch.get_num_threads() == 5


def test_a_process_alone_leaves_the_threads_as_they_are(parse):
    parse("--device", "cpu")
    assert torch.get_num_threads() == 7
