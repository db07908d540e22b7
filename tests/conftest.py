"""What the tests share: scripts run in this process, open figures, CPUs, a tiny set of results."""

import contextlib
import importlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

from experiments import cli

import pytest

ROOT = Path(__file__).parent.parent
TRAINING_SCRIPTS = ("part3_architectures.py", "part4_activations.py", "part5_learning_rate.py")
ENCODING = ("strict", "backslashreplace")  # what stdout, stderr do with what cannot be encoded
TINY = ("--dataset", "synthetic", "--quick", "--batch-size", "150")  # 30 steps an epoch

# A shell's background jobs ignore Ctrl-C and hand that on to the scripts that the tests start
signal.signal(signal.SIGINT, signal.default_int_handler)


def call_script(script, *arguments, cwd=ROOT, status=0):
    """Run "part3_architectures.py" or "report.build" in this process.

    It has no workers unless asked for. It has to end with `status`, if that is not None.
    """
    module = importlib.import_module(script.removesuffix(".py"))
    here = ("--processes", "1", "--threads", "1") if script in TRAINING_SCRIPTS else ()
    stdout, stderr = (
        io.TextIOWrapper(io.BytesIO(), "utf-8", errors, newline="", write_through=True)
        for errors in ENCODING
    )
    ended = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        patch.setattr(sys, "argv", [script, *here, *map(str, arguments)])
        patch.chdir(cwd)
        try:
            cli.run(module.main)
        except SystemExit as end:
            ended = end.code or 0
    said = (file.buffer.getvalue().decode() for file in (stdout, stderr))
    done = subprocess.CompletedProcess(script, ended, *said)
    assert status in (ended, None), done.stdout + done.stderr
    return done


def drawn(monkeypatch, call, module="utils"):
    """Return the figure that a function of `module` draws, open and unsaved."""
    figures = []
    with monkeypatch.context() as patch:
        save = "_save" if module == "utils" else "save_figure"
        patch.setattr(f"{module}.{save}", lambda figure, *_, **__: figures.append(figure))
        call()
    return figures[0]


@pytest.fixture(scope="session")
def tiny_results(tmp_path_factory):
    """A folder with the results of all parts, for two of the networks, on synthetic data."""
    out = tmp_path_factory.mktemp("tiny")
    call_script("part2_conv.py", "--out", out)
    for arch in ("mlp_2", "cnn_5"):
        call_script("part3_architectures.py", *TINY, "--epochs", 2, "--arch", arch, "--out", out)
    call_script("part4_activations.py", *TINY, "--epochs", 1, "--arch", "cnn_5", "--out", out)
    call_script("part5_learning_rate.py", *TINY, "--epochs", 4, "--arch", "mlp_2", "--out", out)
    return out


@pytest.fixture(scope="session")
def cifar10_dir():
    """The folder with the real data; tests that need it are skipped without it."""
    folder = os.environ.get("CIFAR10_DIR")
    if not folder or not (Path(folder) / "cifar10_gray.npz").exists():
        pytest.skip("CIFAR10_DIR names no folder with cifar10_gray.npz")
    return Path(folder)
