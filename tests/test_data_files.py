"""CIFAR-10 as files: the cache, torchvision's archive, a download; damaged, refused or missing.

The sets here have 60 images, so `data.SHAPES` is changed, and what torchvision knows of its files.
"""

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import pickle
import sys
import tarfile
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

import data
from data import BATCHES, CACHE_NAME, DataError, read_cifar10

ARCHIVE = "cifar-10-python.tar.gz"
TRAIN, TEST, META = [f"data_batch_{i}" for i in range(1, 6)], "test_batch", "batches.meta"
COLORED = np.random.default_rng(0).integers(0, 256, (6, 10, 3, 32, 32), np.uint8)  # in 6 batches
GRAY = [data.to_gray(batch.transpose(0, 2, 3, 1)) for batch in COLORED]
ARRAYS = {  # a batch has one image of each class
    "train_images": np.concatenate(GRAY[:5]),
    "train_labels": np.tile(np.arange(10, dtype=np.uint8), 5),
    "test_images": GRAY[5],
    "test_labels": np.arange(10, dtype=np.uint8),
}
FILES = {  # the python format of CIFAR-10
    name: pickle.dumps({"data": images.reshape(10, -1), "labels": [*range(10)]})
    for name, images in zip((*TRAIN, TEST), COLORED, strict=True)
} | {META: pickle.dumps({"label_names": list(data.CLASSES)})}


def make_archive():
    with io.BytesIO() as buffer:
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name, content in FILES.items():
                member = tarfile.TarInfo(f"{BATCHES}/{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return buffer.getvalue()


WHOLE = make_archive()
MD5 = {name: hashlib.md5(content).hexdigest() for name, content in FILES.items()}
KNOWN = {
    "url": f"http://127.0.0.1:9/{ARCHIVE}",  # nobody listens there, so it is refused at once
    "tgz_md5": hashlib.md5(WHOLE).hexdigest(),
    "train_list": [[name, MD5[name]] for name in TRAIN],
    "test_list": [[TEST, MD5[TEST]]],
    "meta": {"filename": META, "key": "label_names", "md5": MD5[META]},
}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(data, "SHAPES", {name: array.shape for name, array in ARRAYS.items()})
    for name, value in KNOWN.items():
        monkeypatch.setattr(CIFAR10, name, value)
    without_proxies = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    monkeypatch.setattr(urllib.request, "_opener", without_proxies)


def unpack(folder, **changed):
    (folder / BATCHES).mkdir()
    for name, content in (FILES | changed).items():
        (folder / BATCHES / name).write_bytes(content)


def assert_read(folder):
    read = read_cifar10(folder)
    assert list(read) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(read[name], array, strict=True)


def assert_refused(folder, *mentioned):
    """One line says all that is `mentioned`."""
    with pytest.raises(DataError) as caught:
        read_cifar10(folder)
    (line,) = str(caught.value).splitlines()
    for text in mentioned:
        assert text in line


# ---- What is read


@pytest.mark.parametrize("there", ["archive", "files", "half of the files"])
def test_what_torchvision_has_is_read_without_a_network_and_kept_as_the_cache(there, tmp_path):
    if there != "files":
        (tmp_path / ARCHIVE).write_bytes(WHOLE)
    if there != "archive":
        cut = {TEST: FILES[TEST][:1000]} if there == "half of the files" else {}
        unpack(tmp_path, **cut)
    assert_read(tmp_path)
    (tmp_path / BATCHES).rename(tmp_path / "elsewhere")
    (tmp_path / ARCHIVE).unlink(missing_ok=True)
    assert_read(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {CACHE_NAME, "elsewhere", ".download.lock"}
    (tmp_path / "file").touch()
    modes = {(tmp_path / name).stat().st_mode for name in (CACHE_NAME, "file")}
    assert len(modes) == 1  # not private, as temporary files are


def test_torchvisions_own_folder_may_be_named(tmp_path):
    unpack(tmp_path)
    assert_read(tmp_path / BATCHES)
    assert (tmp_path / CACHE_NAME).exists()


def test_read_only_files_are_read_and_a_line_says_that_no_cache_is_kept(
    tmp_path, capsys, monkeypatch
):
    unpack(tmp_path)

    def refuse(*_, **__):  # permissions would not bind root
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("open", "mkdir", "replace"):  # for the lock, the temporary folder, the cache
        monkeypatch.setattr(os, name, refuse)
    assert_read(tmp_path)
    (line,) = capsys.readouterr().out.splitlines()
    for text in (str(tmp_path / CACHE_NAME), "not kept", "Read-only file system"):
        assert text in line
    assert [path.name for path in tmp_path.iterdir()] == [BATCHES]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, 524])  # 524: ENOTSUPP of Linux
@pytest.mark.filterwarnings("ignore:flock not supported")
def test_a_file_system_without_locks_is_no_obstacle(number, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(number, "locks are not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / ARCHIVE).write_bytes(WHOLE)
    assert_read(tmp_path)
    assert (tmp_path / CACHE_NAME).exists()


# ---- What is downloaded

OK = b"HTTP/1.0 200 OK\r\n\r\n"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        # torchvision asks for redirections first, with this header
        self.server.downloads += "HEAD" not in (self.command, self.headers["Method"])
        with contextlib.suppress(ConnectionError):
            self.wfile.write(self.server.answer)

    do_HEAD = do_GET


@pytest.fixture
def server(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.answer, server.downloads = OK + WHOLE, 0
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/{ARCHIVE}")
        threading.Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()


def test_of_two_readers_at_once_one_downloads(server, tmp_path):
    """They are threads here. The lock belongs to an open file, so it works among processes, too."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(assert_read, [tmp_path / "new" / "folder"] * 2))
    assert server.downloads == 1


@pytest.mark.parametrize(
    "answer", [OK + b"<html>Please log in</html>", OK + WHOLE[:5000], b"no HTTP"]
)
def test_a_download_of_something_else_is_refused_and_can_be_repeated(answer, server, tmp_path):
    whole, server.answer = server.answer, answer
    assert_refused(tmp_path, str(tmp_path), CACHE_NAME, "--data-dir", "--dataset synthetic")
    server.answer = whole
    assert_read(tmp_path)


# ---- What is refused


@pytest.mark.parametrize("there", ["nothing", "a file"])
def test_without_data_and_network_one_line_says_what_to_do(there, tmp_path):
    folder = tmp_path / "data"
    if there == "a file":
        folder.write_text("mine")
    why = "File exists" if there == "a file" else "Connection refused"
    assert_refused(folder, str(folder), CACHE_NAME, why, "--data-dir", "--dataset synthetic")
    assert there == "nothing" or folder.read_text() == "mine"


def test_a_torchvision_of_another_torch_is_named_with_the_way_out(tmp_path, monkeypatch):
    (tmp_path / "torchvision").mkdir()
    failing = "raise RuntimeError('operator torchvision::nms does not exist')"
    (tmp_path / "torchvision" / "__init__.py").write_text(failing)
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    assert_refused(tmp_path, "torchvision::nms", "pip install --force-reinstall torch torchvision")


def npz(**changed):
    """The bytes of a cache in which an array is changed, or left out for None."""
    buffer = io.BytesIO()
    arrays = {name: array for name, array in (ARRAYS | changed).items() if array is not None}
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


TRAIN_LABELS, TEST_LABELS, CACHE = ARRAYS["train_labels"], ARRAYS["test_labels"], npz()
REFUSED = {  # the bytes of a cache, and what the message says of them beside its path
    "no array": (npz(test_labels=None), "test_labels"),
    "49 images": (npz(train_images=ARRAYS["train_images"][1:]), "(49, 32, 32)"),
    "scaled": (npz(test_images=ARRAYS["test_images"].astype(np.float16)), "float16"),
    "uneven": (npz(train_labels=np.maximum(TRAIN_LABELS, 1)), "train_labels"),
    "label 10": (npz(test_labels=TEST_LABELS + np.uint8(1)), "test_labels"),
    "objects": (npz(test_labels=TEST_LABELS.astype(object)), ""),
    "cut": (CACHE[:50_000], ""),
    "a changed bit": (CACHE[:9000] + bytes([CACHE[9000] ^ 1]) + CACHE[9001:], ""),
    "empty": (b"", ""),
    "other file": (b"<html>Not found</html>", ""),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_cache_that_is_damaged_or_not_cifar10_is_refused(fault, tmp_path):
    content, mentioned = REFUSED[fault]
    cache = tmp_path / CACHE_NAME
    cache.write_bytes(content)
    assert_refused(tmp_path, str(cache), mentioned, "move it away", "--data-dir")
    assert cache.read_bytes() == content
