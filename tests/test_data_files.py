"""CIFAR-10 as files: the cache, torchvision's archive, a download; damaged, hostile or missing.

The sets here have 60 images, so `data.SHAPES` is changed; torchvision knows their checksums.
"""

import contextlib
import errno
import hashlib
import io
import json
import os
import pickle
import socketserver
import tarfile
import threading
import urllib.request

import numpy as np
import pytest
from conftest import call_script
from helpers_faults import (
    NO_NETWORK,
    PART3,
    TouchesMark,
    contents,
    finish,
    read_damaged,
    start,
)
from torchvision.datasets import CIFAR10

import data
from data import CACHE_NAME, DataError, read_cifar10

ARCHIVE, FOLDER = "cifar-10-python.tar.gz", "cifar-10-batches-py"
TRAIN, TEST, META = [f"data_batch_{i}" for i in range(1, 6)], "test_batch", "batches.meta"
SHAPES = {
    "train_images": (50, 32, 32), "train_labels": (50,),
    "test_images": (10, 32, 32), "test_labels": (10,),
}  # fmt: skip
OK = b"HTTP/1.0 200 OK\r\n\r\n"
WAY_OUT = "move it away to have it made anew, or name another folder with --data-dir"
NO_DATA = ("data: ", f"there is no {CACHE_NAME}", "could not be downloaded", "--data-dir")


def make_archive(batches):
    """The bytes of an archive with these pickles."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in batches.items():
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


GENERATOR = np.random.default_rng(0)
IMAGES = {name: GENERATOR.integers(0, 256, (10, 3, 32, 32), np.uint8) for name in (*TRAIN, TEST)}
GRAY = {name: data.to_gray(batch.transpose(0, 2, 3, 1)) for name, batch in IMAGES.items()}
ARRAYS = {  # of each class one image in a batch
    "train_images": np.concatenate([GRAY[name] for name in TRAIN]),
    "train_labels": np.tile(np.arange(10, dtype=np.uint8), 5),
    "test_images": GRAY[TEST],
    "test_labels": np.arange(10, dtype=np.uint8),
}
BATCHES = {  # the files of the archive in the python format of CIFAR-10
    **{
        n: pickle.dumps({"data": a.reshape(10, -1), "labels": [*range(10)]})
        for n, a in IMAGES.items()
    },
    META: pickle.dumps({"label_names": list(data.CLASSES)}),
}
MD5 = {name: hashlib.md5(content).hexdigest() for name, content in BATCHES.items()}
WHOLE = make_archive(BATCHES)
KNOWN = {  # what torchvision knows about the files
    "url": "file:///does/not/exist",
    "tgz_md5": hashlib.md5(WHOLE).hexdigest(),
    "train_list": [[name, MD5[name]] for name in TRAIN],
    "test_list": [[TEST, MD5[TEST]]],
    "meta": {"filename": META, "key": "label_names", "md5": MD5[META]},
}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(data, "SHAPES", SHAPES)
    for name, value in KNOWN.items():
        monkeypatch.setattr(CIFAR10, name, value)


def use_proxy(url, monkeypatch):
    """Make urllib ask `url` for everything."""
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, url)
    monkeypatch.setattr(urllib.request, "_opener", None)  # it has read the variables before


def unpack(batches, folder):
    (folder / FOLDER).mkdir(parents=True)
    for name, content in batches.items():
        (folder / FOLDER / name).write_bytes(content)


def assert_equal_arrays(read):
    assert set(read) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(read[name], array, strict=True)


def visible(folder):
    """The names in a folder, but for the lock, which may stay or not."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".download.lock")


# ---- What is read


def test_archive_is_read_without_a_network_and_kept_as_the_cache(tmp_path, capsys):
    (tmp_path / ARCHIVE).write_bytes(WHOLE)
    (tmp_path / ".download.killed" / FOLDER).mkdir(parents=True)  # of a process that was killed
    (tmp_path / ".download.killed" / ARCHIVE).write_bytes(WHOLE[:1000])
    assert_equal_arrays(read_cifar10(tmp_path))
    assert visible(tmp_path) == [ARCHIVE, CACHE_NAME]
    modes = {(tmp_path / name).stat().st_mode for name in (ARCHIVE, CACHE_NAME)}
    assert len(modes) == 1  # not private, as temporary files are
    (tmp_path / ARCHIVE).unlink()
    assert_equal_arrays(read_cifar10(tmp_path))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("named", [".", FOLDER])
def test_what_torchvision_has_unpacked_is_read_where_it_is(named, tmp_path, monkeypatch):
    """Its own folder may be named, too, instead of the one that holds it."""
    unpack(BATCHES, tmp_path)
    monkeypatch.chdir(tmp_path / named)
    assert_equal_arrays(read_cifar10(tmp_path / named))
    assert visible(tmp_path) == [FOLDER, CACHE_NAME]
    (tmp_path / CACHE_NAME).unlink()
    assert_equal_arrays(read_cifar10(data.Path(".")))
    assert visible(tmp_path) == [FOLDER, CACHE_NAME]


@pytest.mark.parametrize("operation", ["mkdir", "replace"])
def test_a_cache_that_cannot_be_written_is_not_kept_and_a_line_says_so(
    operation, tmp_path, capsys, monkeypatch
):
    unpack(BATCHES, tmp_path)

    def refuse(*_, **__):  # as a file system does that is read-only, for root as well
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, operation, refuse)
    assert_equal_arrays(read_cifar10(tmp_path))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{tmp_path / CACHE_NAME}: not kept (Read-only file system)")
    assert visible(tmp_path) == [FOLDER]


# ---- What is downloaded, by real processes


class Answer(socketserver.StreamRequestHandler):
    """Gives every request the server's `answer`, as soon as its `may_go` is set."""

    def handle(self):
        while self.rfile.readline().strip():  # the request, to its empty line
            pass
        self.server.may_go.wait()
        with contextlib.suppress(ConnectionError):  # who asked was killed
            self.wfile.write(self.server.answer)


@contextlib.contextmanager
def serving(answer):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        server.answer, server.may_go = answer, threading.Event()
        threading.Thread(target=server.serve_forever).start()
        try:
            yield server, f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.may_go.set()
            server.shutdown()


READ = """
import json, sys
from pathlib import Path
from torchvision.datasets import CIFAR10
import data
folder, known, shapes = sys.argv[1:]
for name, value in json.loads(known).items():
    setattr(CIFAR10, name, value)
data.SHAPES = {name: tuple(shape) for name, shape in json.loads(shapes).items()}
print(data.sha256(data.read_cifar10(Path(folder))))
"""


@pytest.mark.slow
def test_of_four_processes_one_downloads_and_another_takes_over_if_it_is_killed(tmp_path):
    """The others wait, and read the cache."""
    folder = tmp_path / "data"
    with serving(OK + WHOLE) as (server, url):
        arguments = (folder, json.dumps(KNOWN | {"url": f"{url}/{ARCHIVE}"}), json.dumps(SHAPES))
        env = {"no_proxy": "127.0.0.1"}
        processes = [start(("-c", READ), *arguments, cwd=tmp_path, env=env) for _ in range(4)]
        said = {process: process.stdout.readline() for process in processes}
        waiting = f"{folder}: another process downloads CIFAR-10; waiting for it\n"
        (first,) = (process for process in processes if said[process] != waiting)
        downloading = f"{folder}: there is no {CACHE_NAME}; downloading CIFAR-10 (170 MB)\n"
        assert said[first] == downloading
        first.kill()
        first.communicate()
        server.may_go.set()
        others = [finish(process) for process in processes if process is not first]
    checksum = f"{data.sha256(ARRAYS)}\n"
    expected = [checksum, checksum, downloading + checksum]
    assert sorted(done.stdout for done in others) == sorted(expected)
    assert visible(folder) == [CACHE_NAME]


# ---- What is refused


FAULTS = {  # an array, how it is changed (None: left out), what the message says
    "missing": ("test_labels", None, "has no array test_labels"),
    "too few": ("train_images", lambda a: a[1:], "train_images is uint8 (49, 32, 32)"),
    "in colour": ("test_images", lambda a: np.stack([a] * 3, -1), "uint8 (10, 32, 32, 3)"),
    "scaled": ("test_images", lambda a: a.astype(np.float16), "test_images is float16"),
    "label 10": ("train_labels", lambda a: np.where(a, a, 10).astype(np.uint8), "5 of each class"),
    "uneven": ("test_labels", lambda a: np.maximum(a, 1), "test_labels are not 1 of each class"),
    "objects": ("test_labels", lambda a: a.astype(object), "Object arrays cannot be loaded"),
    "a bomb": ("more", lambda a: np.zeros(10**8, np.uint8), "unpacks to more than 100000000"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_cache_of_another_form_is_refused(fault, tmp_path):
    name, change, message = FAULTS[fault]
    others = {k: v for k, v in ARRAYS.items() if k != name}
    changed = {name: change(ARRAYS.get(name))} if change else {}
    np.savez_compressed(tmp_path / CACHE_NAME, **others, **changed)
    before = contents(tmp_path)
    with pytest.raises(DataError) as caught:
        read_cifar10(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / CACHE_NAME}: ")
    assert message in str(caught.value)
    assert str(caught.value).endswith(WAY_OUT)
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == before


def test_any_truncated_cache_and_any_flipped_bit_is_recognised(tmp_path):
    """A bit that nothing depends on, such as of the time in the archive, may be any."""
    cache = tmp_path / CACHE_NAME
    np.savez_compressed(cache, **ARRAYS)
    found = read_damaged(cache, lambda path: read_cifar10(path.parent), DataError, 150, 100)
    assert len(found) < 80
    for read in found:
        assert_equal_arrays(read)


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Part 3 does not train, says why in one line, and leaves what was there as it was."""

    def refused(*mentioned, proxy=NO_NETWORK):
        use_proxy(proxy, monkeypatch)
        before = contents(tmp_path / "data")
        options = ("--arch", "mlp_1", "--data-dir", "data", "--out", "out")
        lines = call_script(PART3, *options, cwd=tmp_path, status=1).stderr.splitlines()
        (line,) = (text for text in lines if text.strip() and "B/s]" not in text)  # torchvision's
        assert line.startswith(f"{PART3}: ")
        for text in mentioned:
            assert text in line
        after = contents(tmp_path / "data")
        assert {name: after.get(name) for name in before} == before
        assert after.keys() - before.keys() <= {".download.lock"}
        assert contents(tmp_path / "out") == {}

    return refused


@pytest.mark.parametrize("there", ["a folder", "a file", "a truncated cache", "no file", "nothing"])
def test_without_data_and_network_there_is_one_line(there, tmp_path, refused):
    path = tmp_path / "data"
    if there == "a file":
        path.write_text("mine")
        refused(f"data: not a folder; name that of {CACHE_NAME} with --data-dir")
        assert path.read_text() == "mine"
        return
    if there != "nothing":
        path.mkdir()
    if there == "a truncated cache":
        np.savez_compressed(path / CACHE_NAME, **ARRAYS)
        os.truncate(path / CACHE_NAME, 30_000)
    if there == "a folder":
        (path / CACHE_NAME).mkdir()
    is_cache = (path / CACHE_NAME).exists()
    refused(*([f"data/{CACHE_NAME}: ", WAY_OUT] if is_cache else [*NO_DATA, "--dataset synthetic"]))
    assert path.exists() == (there != "nothing")


@pytest.mark.parametrize("fault", ["incomplete archive", "other archive", "other files"])
def test_a_foreign_archive_is_neither_unpacked_nor_deleted(fault, tmp_path, refused):
    """torchvision knows the checksums of the archive and of the pickles in it."""
    mark, folder = tmp_path / "mark", tmp_path / "data"
    hostile = pickle.dumps(TouchesMark(mark))
    pickle.loads(hostile)
    mark.unlink()  # so the payload does work
    foreign = dict.fromkeys((*TRAIN, TEST, META, "../../escaped"), hostile)
    if fault == "other files":
        del foreign["../../escaped"]
        unpack(foreign, folder)
    else:
        folder.mkdir()
        whole = fault == "other archive"
        (folder / ARCHIVE).write_bytes(make_archive(foreign) if whole else WHOLE[:-1000])
    refused(*NO_DATA)
    assert not mark.exists()
    assert not list(tmp_path.rglob("*escaped*"))


def test_a_whole_archive_of_another_set_is_not_kept(tmp_path, monkeypatch, refused):
    """Its checksums are right, but it has not as many images of each class."""
    monkeypatch.setattr(CIFAR10, "train_list", CIFAR10.train_list[:4])
    unpack(BATCHES, tmp_path / "data")
    refused("data: not CIFAR-10: train_images is uint8 (40, 32, 32)")


@pytest.mark.parametrize(
    "answer", [OK + b"<html>Please log in</html>", b"garbage\r\n\r\n"], ids=["portal", "garbage"]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_download_of_something_else_is_refused(scheme, answer, monkeypatch, refused):
    """As the login page of a network gives it, or what speaks no HTTP."""
    monkeypatch.setattr(CIFAR10, "url", f"{scheme}://cifar10.invalid/{ARCHIVE}")
    with serving(answer) as (server, url):
        server.may_go.set()
        refused(*NO_DATA, proxy=url)
