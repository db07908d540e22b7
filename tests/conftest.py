"""What the tests share: scripts run as a user does, open figures, CPUs, a tiny set of results."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TINY = ("--dataset", "synthetic", "--quick", "--batch-size", "150")  # 30 steps an epoch

# A shell's background jobs ignore Ctrl-C and hand that on to the scripts that the tests start
signal.signal(signal.SIGINT, signal.default_int_handler)


def run_script(*arguments, cwd=ROOT, env=None, status=0):
    """Run a part script in a process of its own; its exit status has to be `status`."""
    command = [sys.executable, str(ROOT / arguments[0]), *map(str, arguments[1:])]
    environment = {k: v for k, v in os.environ.items() if k != "DISPLAY"} | (env or {})
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def drawn(monkeypatch, call, module="utils"):
    """The figure that a function of `module` draws, kept open and unsaved."""
    figures = []
    monkeypatch.setattr(f"{module}._save", lambda figure, *_: figures.append(figure))
    call()
    monkeypatch.undo()
    return figures[0]


@pytest.fixture(scope="session")
def tiny_results(tmp_path_factory):
    """A folder with the results of all parts, for two of the networks, on synthetic data."""
    out = tmp_path_factory.mktemp("tiny")
    run_script("part2_conv.py", "--out", out)
    for arch in ("mlp_2", "cnn_5"):
        run_script("part3_architectures.py", *TINY, "--epochs", 2, "--arch", arch, "--out", out)
    run_script("part4_activations.py", *TINY, "--epochs", 1, "--arch", "cnn_5", "--out", out)
    run_script("part5_learning_rate.py", *TINY, "--epochs", 4, "--arch", "mlp_2", "--out", out)
    return out


@pytest.fixture(scope="session")
def cifar10_dir():
    """The folder with the real data; tests that need it are skipped without it."""
    folder = os.environ.get("CIFAR10_DIR")
    if not folder or not (Path(folder) / "cifar10_gray.npz").exists():
        pytest.skip("CIFAR10_DIR names no folder with cifar10_gray.npz")
    return Path(folder)
