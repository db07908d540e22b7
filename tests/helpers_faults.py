"""Scripts as processes of their own, what they leave behind, bytes that are broken."""

import contextlib
import os
import random
import re
import subprocess
import sys
from pathlib import Path

from experiments.storage import read_npz

import pytest

ROOT = Path(__file__).parent.parent
PART3 = "part3_architectures.py"
SMALL = ("--quick", "--arch", "mlp_1", "--epochs", "1", "--threads", "1")
SYNTHETIC = (*SMALL, "--dataset", "synthetic")
NO_NETWORK = "http://127.0.0.1:9"  # nobody listens there, so every download is refused at once


def environment(**changes):
    """This process's environment, without what would change a script, and without a network."""
    names = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "CIFAR10_DIR", "DISPLAY"}
    kept = {k: v for k, v in os.environ.items() if k not in names and "proxy" not in k.lower()}
    proxies = dict.fromkeys(("http_proxy", "https_proxy"), NO_NETWORK)
    ours = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return kept | proxies | ours | changes


def start(script, *arguments, cwd, env=None, **options):
    """Start a script of ours in `cwd`; `script` may be ("-c", PROGRAM), which can import ours."""
    program = script if isinstance(script, tuple) else (ROOT / script,)
    command = [sys.executable, *map(str, program), *map(str, arguments)]
    env = environment(PYTHONPATH=str(ROOT)) | (env or {})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=cwd, env=env, **pipes, **options)


def without_progress(stderr):
    """Standard error, less the states of the progress bar and empty lines."""
    lines = stderr.replace("\r", "\n").split("\n")
    return "\n".join(line for line in lines if line.strip() and not is_progress(line))


def is_progress(line):
    return bool(re.search(r"\d+/\d+ runs, [\d,/]+ steps \|.*\| \d+ %, .* gone, .* left", line))


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
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for text in mentioned:
        assert str(text) in done.stderr


def contents(folder):
    """The bytes of all files below a folder, by relative path."""
    paths = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def results(out):
    """All that is in an output folder but the environment of each record, the seconds it took."""
    files = contents(out)
    for name in files:
        if name.endswith(".npz"):
            arrays = read_npz(out / name, 10**8)
            del arrays["environment"]
            files[name] = {k: (a.dtype.str, a.shape, a.tobytes()) for k, a in arrays.items()}
    return files


def read_damaged(path, read, error, flips, cuts):
    """What `read` makes of damaged copies of a file that it does not refuse with `error`.

    A copy has a bit flipped, or is cut short.
    Half of the flips are in what an .npz file begins and ends with.
    """
    whole, generator, found = path.read_bytes(), random.Random(6), []
    ends = [*range(8 * 300), *range(8 * (len(whole) - 900), 8 * len(whole))]
    damages = [whole[:length] for length in generator.sample(range(len(whole)), cuts)]
    for bit in generator.sample(range(8 * len(whole)), flips) + generator.sample(ends, flips):
        byte = bytes([whole[bit // 8] ^ 1 << bit % 8])
        damages.append(whole[: bit // 8] + byte + whole[bit // 8 + 1 :])
    for damaged in damages:
        path.write_bytes(damaged)
        with contextlib.suppress(error):
            found.append(read(path))
    return found


class TouchesMark:
    """Pickled, it creates a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def mount(*arguments):
    """Mount, or skip the test where that is not permitted."""
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mount is not permitted here: {done.stderr.strip()}")
