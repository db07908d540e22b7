"""CIFAR-10 as files: the cache, torchvision's archive, a download; damaged, hostile or missing.

The sets here have 60 images, so `data.SHAPES` is changed; torchvision knows their checksums.
"""

import contextlib
import hashlib
import http.server
import io
import json
import pickle
import random
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
    flipped,
    read_only,
    start,
)
from PIL import Image
from torchvision.datasets import CIFAR10

import data
from data import CACHE_NAME, DataError, read_cifar10

ARCHIVE, BATCHES = "cifar-10-python.tar.gz", "cifar-10-batches-py"
TRAIN, TEST, META = [f"data_batch_{i}" for i in range(1, 6)], "test_batch", "batches.meta"
SHAPES = {
    "train_images": (50, 32, 32), "train_labels": (50,),
    "test_images": (10, 32, 32), "test_labels": (10,),
}  # fmt: skip
WAY_OUT = "move it away to have it made anew, or name another folder with --data-dir"
NO_DATA = ("data: ", f"there is no {CACHE_NAME}", "could not be downloaded", "--data-dir")


def make_archive(batches):
    """The bytes of an archive with these pickles."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in batches.items():
            member = tarfile.TarInfo(f"{BATCHES}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def images():
    """By batch: ten colour images, of which one is of each class."""
    generator = np.random.default_rng(0)
    return {n: generator.integers(0, 256, (10, 3, 32, 32), np.uint8) for n in (*TRAIN, TEST)}


@pytest.fixture(scope="module")
def batches(images):
    """The files of the archive in the python format of CIFAR-10, by name."""
    content = {n: {"data": a.reshape(10, -1), "labels": [*range(10)]} for n, a in images.items()}
    content[META] = {"label_names": list(data.CLASSES)}
    return {name: pickle.dumps(batch) for name, batch in content.items()}


@pytest.fixture(scope="module")
def archive(batches):
    return make_archive(batches)


@pytest.fixture(scope="module")
def known(batches, archive):
    """What torchvision knows about the files."""
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in batches.items()}
    return {
        "url": "file:///does/not/exist",
        "tgz_md5": hashlib.md5(archive).hexdigest(),
        "train_list": [[name, md5[name]] for name in TRAIN],
        "test_list": [[TEST, md5[TEST]]],
        "meta": {"filename": META, "key": "label_names", "md5": md5[META]},
    }


@pytest.fixture(scope="module")
def arrays(images):
    """The same images in grayscale."""
    gray = {name: data.to_gray(batch.transpose(0, 2, 3, 1)) for name, batch in images.items()}
    labels = np.arange(10, dtype=np.uint8)
    return {
        "train_images": np.concatenate([gray[name] for name in TRAIN]),
        "train_labels": np.tile(labels, 5),
        "test_images": gray[TEST],
        "test_labels": labels,
    }


@pytest.fixture(scope="module")
def cache(arrays):
    """The bytes of the cache."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def _small(known, monkeypatch):
    monkeypatch.setattr(data, "SHAPES", SHAPES)
    for name, value in known.items():
        monkeypatch.setattr(CIFAR10, name, value)


def use_proxy(url, monkeypatch):
    """Make urllib ask `url` for everything."""
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, url)
    monkeypatch.setattr(urllib.request, "_opener", None)  # it has read the variables before


def unpack(batches, folder):
    (folder / BATCHES).mkdir(parents=True)
    for name, content in batches.items():
        (folder / BATCHES / name).write_bytes(content)


def assert_equal_arrays(read, arrays):
    assert set(read) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array, strict=True)


def visible(folder):
    """The names in a folder, but for the lock, which may stay or not."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".download.lock")


# ---- What is read


def test_archive_is_read_without_a_network_and_kept_as_the_cache(
    archive, arrays, images, tmp_path, capsys
):
    (tmp_path / ARCHIVE).write_bytes(archive)
    (tmp_path / ".download.killed" / BATCHES).mkdir(parents=True)  # of a process that was killed
    (tmp_path / ".download.killed" / ARCHIVE).write_bytes(archive[:1000])
    assert_equal_arrays(read_cifar10(tmp_path), arrays)
    picture = Image.fromarray(images["data_batch_2"][3].transpose(1, 2, 0)).convert("L")
    np.testing.assert_array_equal(arrays["train_images"][13], np.asarray(picture))
    assert visible(tmp_path) == [ARCHIVE, CACHE_NAME]
    assert (tmp_path / CACHE_NAME).stat().st_mode & 0o777 == 0o644
    (tmp_path / ARCHIVE).unlink()
    assert_equal_arrays(read_cifar10(tmp_path), arrays)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("named", [".", BATCHES])
def test_what_torchvision_has_unpacked_is_read_where_it_is(
    named, batches, arrays, tmp_path, monkeypatch
):
    """Its own folder may be named, too, instead of the one that holds it."""
    unpack(batches, tmp_path)
    monkeypatch.chdir(tmp_path / named)
    assert_equal_arrays(read_cifar10(tmp_path / named), arrays)
    assert visible(tmp_path) == [BATCHES, CACHE_NAME]
    (tmp_path / CACHE_NAME).unlink()
    assert_equal_arrays(read_cifar10(data.Path(".")), arrays)
    assert visible(tmp_path) == [BATCHES, CACHE_NAME]


def test_in_a_read_only_folder_the_cache_is_not_kept_and_a_line_says_so(
    batches, arrays, tmp_path, capsys
):
    unpack(batches, tmp_path)
    with read_only(tmp_path):
        assert_equal_arrays(read_cifar10(tmp_path), arrays)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{tmp_path / CACHE_NAME}: not kept (")
    assert visible(tmp_path) == [BATCHES]


# ---- What is downloaded, by real processes


class Archive(http.server.BaseHTTPRequestHandler):
    """Serves the archive as soon as the server's `may_go` is set."""

    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()

    def do_GET(self):
        self.server.may_go.wait()
        with contextlib.suppress(ConnectionError):  # it was killed
            self.do_HEAD()
            self.wfile.write(self.server.archive)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(handler):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.may_go = threading.Event()
        threading.Thread(target=server.serve_forever).start()
        try:
            yield server
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
def test_of_four_processes_one_downloads_and_another_takes_over_if_it_is_killed(
    archive, arrays, known, tmp_path
):
    """The others wait, and read the cache."""
    folder = tmp_path / "data"
    with serving(Archive) as server:
        server.archive = archive
        url = f"http://127.0.0.1:{server.server_port}/{ARCHIVE}"
        arguments = (folder, json.dumps(known | {"url": url}), json.dumps(SHAPES))
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
    checksum = f"{data.sha256(arrays)}\n"
    expected = [checksum, checksum, downloading + checksum]
    assert sorted(done.stdout for done in others) == sorted(expected)
    assert visible(folder) == [CACHE_NAME]


# ---- What is refused


FAULTS = {  # an array, how it is changed (None: left out), what the message says
    "missing": ("test_labels", None, "has no array test_labels"),
    "too few": ("train_images", lambda a: a[1:], "train_images is uint8 (49, 32, 32)"),
    "in colour": ("test_images", lambda a: np.stack([a] * 3, -1), "uint8 (10, 32, 32, 3)"),
    "flat": ("test_images", lambda a: a.reshape(len(a), -1), "uint8 (10, 1024)"),
    "wide labels": ("train_labels", lambda a: a.astype(np.int64), "train_labels is int64"),
    "scaled": ("test_images", lambda a: a.astype(np.float16), "test_images is float16"),
    "label 10": ("train_labels", lambda a: np.where(a, a, 10).astype(np.uint8), "not equally many"),
    "uneven": ("test_labels", lambda a: np.maximum(a, 1), "has not equally many images of the"),
    "objects": ("test_labels", lambda a: a.astype(object), "Object arrays cannot be loaded"),
    "a bomb": ("more", lambda a: np.zeros(10**8, np.uint8), "unpacks to more than 100000000"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_cache_of_another_form_is_refused(fault, arrays, tmp_path):
    name, change, message = FAULTS[fault]
    others = {k: v for k, v in arrays.items() if k != name}
    changed = {name: change(arrays.get(name))} if change else {}
    np.savez_compressed(tmp_path / CACHE_NAME, **others, **changed)
    before = contents(tmp_path)
    with pytest.raises(DataError) as caught:
        read_cifar10(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / CACHE_NAME}: ")
    assert message in str(caught.value)
    assert str(caught.value).endswith(WAY_OUT)
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == before


def test_any_truncated_cache_and_any_flipped_bit_is_recognised(cache, arrays, tmp_path):
    """A bit that nothing depends on, such as of the time in the archive, may be any."""
    generator = random.Random(6)
    bits = generator.sample(range(8 * len(cache)), 300)
    lengths = generator.sample(range(len(cache)), 100)
    recognised = 0
    for damaged in [flipped(cache, b) for b in bits] + [cache[:length] for length in lengths]:
        (tmp_path / CACHE_NAME).write_bytes(damaged)
        try:
            read = read_cifar10(tmp_path)
        except DataError:
            recognised += 1
            continue
        assert_equal_arrays(read, arrays)
    assert recognised > 380


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
def test_without_data_and_network_there_is_one_line(there, cache, tmp_path, refused):
    path = tmp_path / "data"
    if there == "a file":
        path.write_text("mine")
        refused(f"data: not a folder; name that of {CACHE_NAME} with --data-dir")
        assert path.read_text() == "mine"
        return
    if there != "nothing":
        path.mkdir()
    if there == "a truncated cache":
        (path / CACHE_NAME).write_bytes(cache[:30_000])
    if there == "a folder":
        (path / CACHE_NAME).mkdir()
    is_cache = (path / CACHE_NAME).exists()
    refused(*([f"data/{CACHE_NAME}: ", WAY_OUT] if is_cache else [*NO_DATA, "--dataset synthetic"]))
    assert path.exists() == (there != "nothing")


@pytest.mark.parametrize("fault", ["incomplete archive", "other archive", "other files"])
def test_a_foreign_archive_is_neither_unpacked_nor_deleted(fault, archive, tmp_path, refused):
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
        (folder / ARCHIVE).write_bytes(make_archive(foreign) if whole else archive[:-1000])
    refused(*NO_DATA)
    assert not mark.exists()
    assert not list(tmp_path.rglob("*escaped*"))


def test_a_whole_archive_of_another_set_is_not_kept(tmp_path, batches, monkeypatch, refused):
    """Its checksums are right, but it has not as many images of each class."""
    monkeypatch.setattr(CIFAR10, "train_list", CIFAR10.train_list[:4])
    unpack(batches, tmp_path / "data")
    refused("data: not CIFAR-10: train_images is uint8 (40, 32, 32)")


class Portal(http.server.BaseHTTPRequestHandler):
    """Answers any request with a page, as the login page of a network does."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>Please log in</html>")

    do_CONNECT = do_HEAD = do_GET

    def log_message(self, *_):
        pass


class Garbage(Portal):
    """Answers any request with what is no HTTP."""

    def do_GET(self):
        self.wfile.write(b"garbage\r\n\r\n")

    do_CONNECT = do_HEAD = do_GET


@pytest.mark.parametrize("handler", [Portal, Garbage])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_download_of_something_else_is_refused(scheme, handler, monkeypatch, refused):
    monkeypatch.setattr(CIFAR10, "url", f"{scheme}://cifar10.invalid/{ARCHIVE}")
    with serving(handler) as server:
        refused(*NO_DATA, proxy=f"http://127.0.0.1:{server.server_port}")
