"""What the tests share: scripts run in this process, and the real data."""

import contextlib
import importlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import ends

ROOT = Path(__file__).parent.parent
TRAINING_SCRIPTS = ("part3_architectures.py", "part4_activations.py", "part5_learning_rate.py")
TINY = ("--dataset", "synthetic", "--quick", "--batch-size", "150")  # 30 steps an epoch

# A shell's background jobs ignore Ctrl-C and hand that on to the scripts that the tests start
signal.signal(signal.SIGINT, signal.default_int_handler)


def call_script(script, *arguments, cwd=ROOT, status=0):
    """Run "part3_architectures.py" or "report.build" in this process.

    It has no workers unless asked for. It has to end with `status`, if that is not None.
    """
    module = importlib.import_module(script.removesuffix(".py"))
    here = ("--processes", "1") if script in TRAINING_SCRIPTS else ()
    stdout, stderr, ended = io.StringIO(), io.StringIO(), 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        patch.setattr(sys, "argv", [script, *here, *map(str, arguments)])
        patch.chdir(cwd)
        try:
            ends.run(module.main)
        except SystemExit as end:
            ended = end.code or 0
    done = subprocess.CompletedProcess(script, ended, stdout.getvalue(), stderr.getvalue())
    assert status in (ended, None), done.stdout + done.stderr
    return done


@pytest.fixture(scope="session")
def cifar10_dir():
    """The folder with the real data; tests that need it are skipped without it."""
    folder = os.environ.get("CIFAR10_DIR")
    if not folder or not (Path(folder) / "cifar10_gray.npz").exists():
        pytest.skip("CIFAR10_DIR names no folder with cifar10_gray.npz")
    return Path(folder)
