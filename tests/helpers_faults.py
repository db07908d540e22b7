"""Scripts as processes of their own, and what they leave behind."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

PART3 = "part3_architectures.py"
SYNTHETIC = ("--quick", "--arch", "mlp_1", "--epochs", "1", "--dataset", "synthetic")
NO_NETWORK = "http://127.0.0.1:9"  # nobody listens there, so every download is refused at once


def environment(**changes):
    """This process's environment, without what would change a script, and without a network."""
    names = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "CIFAR10_DIR", "PYTHONUNBUFFERED"}
    kept = {k: v for k, v in os.environ.items() if k not in names and "proxy" not in k.lower()}
    proxies = dict.fromkeys(("http_proxy", "https_proxy"), NO_NETWORK)
    ours = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}
    return kept | proxies | ours | changes


def command(script, *arguments):
    """The command line of a script of ours; `script` may be ("-c", PROGRAM), which imports ours."""
    program = script if isinstance(script, tuple) else (ROOT / script,)
    return [sys.executable, *map(str, program), *map(str, arguments)]


def start(script, *arguments, cwd, env=None, before=(), **options):
    """Start a script of ours in `cwd`. `before`: a command that starts the one it is given."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    line = [*before, *command(script, *arguments)]
    return subprocess.Popen(line, cwd=cwd, env=environment(**env or {}), **pipes | options)


def without_progress(stderr):
    """Standard error, less the states of the progress bar and empty lines."""
    lines = stderr.replace("\r", "\n").split("\n")
    return "\n".join(line for line in lines if line.strip() and not is_progress(line))


def is_progress(line):
    return bool(re.search(r"\d+/\d+ runs \|.*\| \d+ %, .* gone, .* left", line))


def finish(process):
    """Wait for a process: exit status, standard output, standard error without progress bars."""
    stdout, stderr = process.communicate()
    status, errors = process.returncode, without_progress(stderr)
    return subprocess.CompletedProcess(process.args, status, stdout, errors)


def run(script, *arguments, cwd, **options):
    """`start` and `finish`."""
    return finish(start(script, *arguments, cwd=cwd, **options))


def assert_succeeds(done):
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr, done.stderr


def assert_one_line(done, status, *mentioned):
    """The process ended with `status`, and one line of error says all that is `mentioned`."""
    assert done.returncode == status, done.stdout + done.stderr
    (line,) = without_progress(done.stderr).split("\n")
    for text in mentioned:
        assert str(text) in line


def results(out):
    """All that is in an output folder but the environment of each record, the seconds it took.

    Temporary files, which processes leave that are killed while they write, do not count.
    """
    files = {}
    for path in (path for path in out.rglob("*") if path.is_file() and path.suffix != ".tmp"):
        files[str(path.relative_to(out))] = path.read_bytes()
        if path.suffix == ".npz":
            arrays = dict(np.load(path))
            del arrays["environment"]
            arrays = {k: (a.dtype.str, a.shape, a.tobytes()) for k, a in arrays.items()}
            files[str(path.relative_to(out))] = arrays
    return files


def with_mounts(script):
    """A command for `before`, which runs what it is given after a shell script that mounts.

    Nobody else sees what is mounted. Skips the test where that is not permitted.
    """
    own = ["env", "unshare", "--mount", *["--map-root-user"] * (os.geteuid() != 0), "sh", "-ec"]
    done = subprocess.run([*own, script], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    return [*own, f'{script}\nexec "$@"', "sh"]
