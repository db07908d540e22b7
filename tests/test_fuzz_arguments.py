"""Hundreds of command lines: each ends with status 0, 1 or 2, with one line if it is an error."""

import collections
import getpass
import itertools
import os
import re
import shutil
import sys
import tempfile
import urllib.request
from unittest import mock

import numpy as np
import pytest
import torch
from conftest import TRAINING_SCRIPTS, call_script
from helpers_faults import contents, environment, without_progress
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import part3_architectures  # noqa: F401  what it imports may write, the first time
from data import CACHE_NAME

LISTS = 150
NUMBERS = ["0", "-1", "1.5", "1e3", "nan", "", " 1", "+1", "0x1", "²", "٢", "9" * 5000, "1000001"]
OUT = ["new", "new/deep/er", "./new/../new2", "..", "../beside", "", ".", "file", "file/below"]
OUT += ["x" * 300, "with spaces", "-", "~", "$HOME", "%s%n", "ü", "\udcff", "new\nline"]
FILES = ["samples.npy", "kernel.npy", "large.npy", "words.npy", "objects.npy", "empty.npy"]
FILES += ["nan.npy", "complex.npy", "long.npy", "flat.npy", "none.npy", "text", "folder", ""]
FILES += ["/dev/zero", "/proc/self/mem"]
STRAY = ["--", "-", "-h", "-x", "--ep", "--epochs", "--out", "--none", "@file", "=", "--quick=1"]
STRAY += ["--help=x", "--arch", "--drop-epochs", "--samples"]
TORCHS_OWN = os.path.realpath(f"{tempfile.gettempdir()}/torchinductor_{getpass.getuser()}")
RANKS = ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"]


def option(name, *values):
    """An option with one of some values, as two arguments or as one."""
    return st.sampled_from([form for v in values for form in ([name, v], [f"{name}={v}"])])


any_option = st.one_of(
    option("--out", *OUT),
    st.sampled_from([["--plot-only"], ["--quick"], ["--unscaled"], ["--initialized"], ["--help"]]),
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0/"), max_size=8)),
    st.sampled_from(STRAY).map(lambda argument: [argument]),
)
training_option = st.one_of(
    any_option,
    option("--arch", "mlp_1", "mlp_2", "", "cnn_9", "MLP_1", "../mlp_1"),
    option("--runs", "1", "2", *NUMBERS),
    option("--epochs", "1", "2", *NUMBERS),
    option("--batch-size", "50", "500", "1000000", *NUMBERS[:-3]),
    option("--seed", "1", "4294967295", "4294967296", *NUMBERS),
    option("--dataset", "synthetic", "cifar10", "mnist", ""),
    option("--data-dir", "folder", "cache", "file", *OUT),
    option("--device", "cpu", "auto", "cuda:99", "cuda:", "cuda:²", "cuda:" + "9" * 5000, "meta"),
    option("--processes", "1", "2", *NUMBERS),
    option("--threads", "1", "2", *NUMBERS),
    st.tuples(st.just("--drop-epochs"), *[st.sampled_from(["1", "2", *NUMBERS])] * 2).map(list),
)
part2_option = st.one_of(any_option, option("--samples", *FILES), option("--kernel", *FILES))
ranks = st.dictionaries(st.sampled_from(RANKS), st.sampled_from(["0", "1", "2", "-1", "x", ""]))


def some(any_of):
    """At most three options, as one list of arguments."""
    return st.lists(any_of, max_size=3).map(lambda lists: [*itertools.chain(*lists)])


@st.composite
def command_lines(draw):
    """A script, its arguments and variables; what is trained is small unless an option says so."""
    script = draw(st.sampled_from(["part2_conv.py", *TRAINING_SCRIPTS]))
    if script not in TRAINING_SCRIPTS:
        return script, draw(some(part2_option)), {}
    arch = "mlp_2" if "part5" in script else "mlp_1"
    small = f"--dataset synthetic --arch {arch} --runs 1 --epochs 1 --batch-size 150"
    arguments = [*small.split(), *["--quick"] * draw(st.booleans())]
    arguments += draw(some(training_option))
    return script, arguments, draw(st.one_of(st.just({}), ranks))


CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
written = None


def log_writes(event, arguments):
    """An audit hook: `written` gets the paths that are opened to write, made, renamed, removed."""
    if written is None:
        return
    paths = []
    if event == "open" and isinstance(arguments[0], str | bytes) and arguments[2] & WRITING:
        paths = [arguments[0]]
    elif event in ("os.remove", "os.rmdir") and arguments[1] >= 0:  # the name in a folder
        paths = [os.path.join(f"/proc/self/fd/{arguments[1]}", arguments[0])]
    elif event in CHANGES:
        paths = [path for path in arguments if isinstance(path, str | bytes)]
    written.extend(os.path.realpath(os.fsdecode(path)) for path in paths)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with what the arguments may name: arrays, a set of data, a file, a folder."""
    folder, cache = tmp_path_factory.mktemp("inputs"), tmp_path_factory.mktemp("cache")
    arrays = {
        "samples": np.arange(3 * 28 * 28, dtype=np.uint8).reshape(3, 1, 28, 28),
        "kernel": np.linspace(-1, 1, 2 * 16).reshape(2, 1, 4, 4),
        "large": np.ones((2, 1, 40, 40), np.float16),
        "words": np.full((1, 1, 5, 5), "word"),
        "objects": np.array([[[[{}]]]]),
        "empty": np.zeros((0, 1, 5, 5)),
        "nan": np.full((1, 1, 5, 5), np.nan),
        "complex": np.full((1, 1, 5, 5), 1j),
        "long": np.ones((1, 1, 5, 5), np.longdouble),
        "flat": np.ones((28, 28)),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    for name in ("text", "file"):
        (folder / name).write_text("not an array")
    (folder / "folder").mkdir()
    sets = {"train": 50_000, "test": 10_000}
    images = {f"{k}_images": np.zeros((n, 32, 32), np.uint8) for k, n in sets.items()}
    labels = {f"{k}_labels": (np.arange(n) % 10).astype(np.uint8) for k, n in sets.items()}
    np.savez_compressed(cache / CACHE_NAME, **images, **labels)
    (folder / "cache").symlink_to(cache)
    return folder


def places(arguments, cwd):
    """Where a script may write: the output folder, and a folder of data that it would download."""
    equal = [argument.partition("=")[::2] for argument in arguments]
    given = [value for name, value in (*itertools.pairwise(arguments), *equal)
             if name in ("--out", "--data-dir")]  # fmt: skip
    given += [value.partition("/..")[0] for value in given]  # made on the way, as by mkdir -p
    given = [re.sub("^~(?=/|$)", str(cwd), value) for value in given]  # the home folder, see below
    return [TORCHS_OWN, *(os.path.realpath(cwd / name) for name in ("results", "data", *given))]


@pytest.mark.slow
def test_command_lines(inputs, tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("lines")
    seen = collections.Counter()
    sys.addaudithook(log_writes)  # for good
    monkeypatch.setattr(f"{__name__}.written", [])  # and to None at the end
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(urllib.request, "_opener", None)  # that knows of no proxy

    @settings(
        max_examples=LISTS, deadline=None, derandomize=True, database=None,
        phases=[Phase.generate],
    )  # fmt: skip
    @given(command_lines())
    def try_one(command_line):
        script, arguments, variables = command_line
        cwd = folder / str(sum(seen.values())) / "here"
        shutil.copytree(inputs, cwd, symlinks=True)
        written.clear()
        with mock.patch.dict(os.environ, environment(HOME=str(cwd), **variables), clear=True):
            done = call_script(script, *arguments, cwd=cwd, status=None)
        changed = [*written]
        torch.set_num_threads(1)  # whatever --threads said
        seen[script, done.returncode] += 1
        assert done.returncode in (0, 1, 2), done.stderr
        assert "Traceback" not in done.stderr
        errors = without_progress(done.stderr)
        if done.returncode and not {"\n", "\r"} & set("".join(arguments)):
            assert re.fullmatch(f"{script}: .*", errors), errors
        allowed = places(arguments, cwd)
        for path in changed:
            related = (os.path.commonpath([path, place]) in (path, place) for place in allowed)
            assert any(related) or path.startswith("/dev/"), path  # its parents may be made, too
        for name, content in contents(inputs).items():
            assert (cwd / name).read_bytes() == content
        shutil.rmtree(cwd.parent)

    try_one()
    for script in ["part2_conv.py", *TRAINING_SCRIPTS]:
        assert min(seen[script, 0], seen[script, 2]) > 0, seen
