"""CIFAR-10 whose files are damaged, incomplete, hostile or missing, without a network."""

import http.server
import os
import pickle
import random
import tarfile
import threading

import numpy as np
import pytest
from helpers_faults import PART3, SMALL, assert_one_line, contents, environment, flipped, run

from data import read_cifar10
from download import CACHE_NAME
from files import UserError

WAY_OUT = "move it away to have it made anew, or name another folder with --data-dir"


@pytest.fixture(scope="module")
def arrays():
    """A set of the right form: 60,000 times the same noise, equally many of each class."""
    image = np.random.default_rng(6).integers(256, size=(1, 32, 32), dtype=np.uint8)
    return {
        "train_images": np.repeat(image, 50_000, axis=0),
        "train_labels": (np.arange(50_000) % 10).astype(np.uint8),
        "test_images": np.repeat(image, 10_000, axis=0),
        "test_labels": (np.arange(10_000) % 10).astype(np.uint8),
    }


@pytest.fixture(scope="module")
def whole(arrays, tmp_path_factory):
    """The bytes of its file; it can be read."""
    path = tmp_path_factory.mktemp("cache") / CACHE_NAME
    np.savez_compressed(path, **arrays)
    read_cifar10(path.parent)
    return path.read_bytes()


def first_label(value):
    """The labels, but for the first one."""
    return lambda labels: np.concatenate([[value], labels[1:]]).astype(np.uint8)


FAULTS = {  # an array, how it is changed (None: left out), what the message says
    "missing": ("test_labels", None, "has no array test_labels"),
    "too few": ("train_images", lambda a: a[1:], "train_images is uint8 (49999, 32, 32)"),
    "in colour": ("test_images", lambda a: np.stack([a] * 3, -1), "uint8 (10000, 32, 32, 3)"),
    "flat": ("test_images", lambda a: a.reshape(len(a), -1), "uint8 (10000, 1024)"),
    "wide labels": ("train_labels", lambda a: a.astype(np.int64), "train_labels is int64"),
    "scaled": ("test_images", lambda a: a.astype(np.float16), "test_images is float16"),
    "label 10": ("train_labels", first_label(10), "train_labels holds the label 10"),
    "label 255": ("test_labels", first_label(255), "test_labels holds the label 255"),
    "uneven": ("train_labels", first_label(1), "train_labels has 4999 to 5001 images of a class"),
    "one class": ("test_labels", np.zeros_like, "test_labels has 0 to 10000 images of a class"),
    "objects": ("test_labels", lambda a: a.astype(object), "it holds Python objects"),
    "a bomb": ("more", lambda a: np.zeros(10**8, np.uint8), "unpacks to more than"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_of_another_form_is_refused(fault, arrays, tmp_path):
    name, change, message = FAULTS[fault]
    others = {k: v for k, v in arrays.items() if k != name}
    changed = {name: change(arrays.get(name))} if change else {}
    np.savez_compressed(tmp_path / CACHE_NAME, **others, **changed)
    before = contents(tmp_path)
    with pytest.raises(UserError) as caught:
        read_cifar10(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / CACHE_NAME}: ")
    assert message in str(caught.value) and str(caught.value).endswith(WAY_OUT)
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == before


@pytest.mark.slow
def test_any_truncated_file_and_any_flipped_bit_is_recognised(whole, arrays, tmp_path):
    generator = random.Random(6)
    bits = generator.sample(range(8 * len(whole)), 40)
    lengths = generator.sample(range(len(whole)), 20)
    recognised = 0
    for data in [flipped(whole, b) for b in bits] + [whole[:length] for length in lengths]:
        (tmp_path / CACHE_NAME).write_bytes(data)
        try:
            read = read_cifar10(tmp_path)
        except UserError:
            recognised += 1
            continue
        for name, array in arrays.items():
            np.testing.assert_array_equal(read[name], array, strict=True)
    assert recognised > 50


def assert_refused(folder, *mentioned, **options):
    """Part 3 does not train, says why in one line, and leaves what was there as it was."""
    before = contents(folder / "data")
    done = run(PART3, *SMALL, "--data-dir", "data", "--out", "out", cwd=folder, **options)
    assert_one_line(done, 1, *mentioned)
    after = contents(folder / "data")
    assert {name: after.get(name) for name in before} == before
    assert contents(folder / "out") == {}


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["empty", "truncated", "a bit flipped", "notes", "labels", "dir"])
def test_a_broken_file_is_one_line_that_says_what_to_do(fault, whole, arrays, tmp_path):
    cache = tmp_path / "data" / CACHE_NAME
    cache.parent.mkdir()
    if fault == "labels":
        np.savez_compressed(cache, **arrays | {"test_labels": np.full(10_000, 11, np.uint8)})
    elif fault == "dir":
        cache.mkdir()
    else:
        changed = {
            "empty": b"",
            "truncated": whole[:30_000],
            "a bit flipped": flipped(whole, 4 * len(whole)),
            "notes": b"my notes",
        }
        cache.write_bytes(changed[fault])
    assert_refused(tmp_path, f"data/{CACHE_NAME}: ", WAY_OUT)


NO_DATA = ("data: ", f"there is no {CACHE_NAME}", "could not be downloaded", "--data-dir")


@pytest.mark.slow
def test_without_data_and_network_there_is_one_line(tmp_path):
    assert_refused(tmp_path, *NO_DATA, "--dataset synthetic")


class Payload:
    """Pickled, it creates the file `mark` when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", ["incomplete archive", "other archive", "other files", "no files"]
)
def test_a_foreign_archive_is_neither_unpacked_nor_deleted(fault, tmp_path):
    """torchvision knows the checksums of the archive and of the pickles in it."""
    mark, folder = tmp_path / "mark", tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    archive = tmp_path / "data" / "cifar-10-python.tar.gz"
    if fault == "incomplete archive":
        archive.write_bytes(b"\x1f\x8b\x08" + random.Random(6).randbytes(10**6))
    elif fault != "no files":
        names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch", "batches.meta"]
        for name in names:
            (folder / name).write_bytes(pickle.dumps(Payload(mark)))
    if fault == "other archive":
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(folder, folder.name)
            tar.add(folder / "test_batch", "../escaped")
    assert_refused(tmp_path, *NO_DATA)
    assert not mark.exists() and not (tmp_path / "escaped").exists()


class Portal(http.server.BaseHTTPRequestHandler):
    """Answers any request with a page, as the login page of a network does."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>Please log in</html>")

    do_CONNECT = do_GET

    def log_message(self, *_):
        pass


@pytest.mark.slow
def test_a_download_of_something_else_is_refused(tmp_path):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Portal) as server:
        threading.Thread(target=server.serve_forever).start()
        proxy = f"http://127.0.0.1:{server.server_port}"
        assert_refused(tmp_path, *NO_DATA, env=environment(http_proxy=proxy, https_proxy=proxy))
        server.shutdown()
