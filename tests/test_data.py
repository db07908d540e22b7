import hashlib
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.datasets import CIFAR10

import data
from data import load, read_cifar10, scale, stratified_split
from download import CACHE_NAME, download_cifar10, to_gray
from models import build
from synthetic import draw_synthetic
from training import Examples, accuracy, train

CPU = torch.device("cpu")


def test_split_takes_a_tenth_of_each_class():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 5000))
    train_indices, val_indices = stratified_split(labels, seed=449)
    assert np.bincount(labels[val_indices]).tolist() == [500] * 10
    assert np.bincount(labels[train_indices]).tolist() == [4500] * 10
    assert not set(train_indices) & set(val_indices)
    assert len(train_indices) + len(val_indices) == len(labels)


def test_split_depends_on_the_seed_alone():
    labels = np.repeat(np.arange(10), 100)
    first, again, other = (stratified_split(labels, seed)[1] for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()


def test_scale_maps_black_and_white_to_the_ends_of_the_range():
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    scaled = scale(images)
    assert scaled.dtype == torch.float32
    assert scaled.shape == (1, 1, 16, 16)
    assert scaled.min() == -1.0
    assert scaled.max() == 1.0
    torch.testing.assert_close(scaled.flatten()[128], torch.tensor(128 / 127.5 - 1))
    assert torch.equal(scale(images, (0.0, 255.0)).squeeze(1), images.float())


def test_gray_is_pillows_and_torchvisions():
    rgb = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    gray = to_gray(rgb)
    for image, expected in zip(rgb, gray, strict=True):
        picture = Image.fromarray(image)
        np.testing.assert_array_equal(expected, np.asarray(picture.convert("L")))
        np.testing.assert_array_equal(expected, np.asarray(transforms.Grayscale()(picture)))


@pytest.fixture
def small_archive(tmp_path):
    """An archive in the python format of CIFAR-10, and a dataset class that knows its checksum."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    images, checksums = {}, {}
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]:
        images[name] = generator.integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)
        content = {"data": images[name].reshape(10, -1), "labels": list(range(10))}
        if name == "batches.meta":
            content = {"label_names": list(data.CLASSES)}
        (folder / name).write_bytes(pickle.dumps(content))
        checksums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)

    class Small(CIFAR10):
        url = "file:///does/not/exist"
        tgz_md5 = hashlib.md5(archive.read_bytes()).hexdigest()
        train_list = [[f"data_batch_{i}", checksums[f"data_batch_{i}"]] for i in range(1, 6)]
        test_list = [["test_batch", checksums["test_batch"]]]
        meta = CIFAR10.meta | {"md5": checksums["batches.meta"]}

    for file in folder.iterdir():
        file.unlink()  # so that the archive itself has to be unpacked
    folder.rmdir()
    return tmp_path, Small, images


def test_archive_is_read_through_torchvision_without_a_network(small_archive):
    folder, dataset_class, images = small_archive
    arrays = download_cifar10(folder, dataset_class)
    assert arrays["train_images"].shape == (50, 32, 32)
    assert arrays["train_labels"].tolist() == list(range(10)) * 5
    assert arrays["test_labels"].tolist() == list(range(10))
    expected = np.asarray(Image.fromarray(images["test_batch"][3].transpose(1, 2, 0)).convert("L"))
    np.testing.assert_array_equal(arrays["test_images"][3], expected)
    assert os.listdir(folder) == ["cifar-10-python.tar.gz"]


def test_what_torchvision_has_unpacked_is_read_there(small_archive):
    folder, dataset_class, _ = small_archive
    dataset_class(folder, download=True)
    (folder / "cifar-10-python.tar.gz").unlink()
    arrays = download_cifar10(folder, dataset_class)
    assert arrays["train_images"].shape == (50, 32, 32)
    assert os.listdir(folder) == ["cifar-10-batches-py"]


class Noise(CIFAR10):
    """As many images and labels as CIFAR-10 has, without a download."""

    def __init__(self, root, train, download):
        count = 50_000 if train else 10_000
        self.data = np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), np.uint8)
        self.targets = np.repeat(np.arange(10), count // 10).tolist()


def test_a_download_is_kept_as_the_gray_file(tmp_path):
    arrays = read_cifar10(tmp_path, Noise)
    assert os.listdir(tmp_path) == [CACHE_NAME]
    again = read_cifar10(tmp_path)
    assert all(np.array_equal(arrays[name], again[name]) for name in data.SHAPES)


def test_synthetic_set_is_balanced_and_depends_on_the_seed_alone():
    arrays, again, other = draw_synthetic(), draw_synthetic(), draw_synthetic(seed=1)
    assert arrays["train_images"].shape == (10_000, 32, 32)
    assert arrays["train_images"].dtype == np.uint8
    assert np.bincount(arrays["train_labels"]).tolist() == [1000] * 10
    assert np.bincount(arrays["test_labels"]).tolist() == [200] * 10
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)
    assert not np.array_equal(arrays["train_images"], other["train_images"])


def test_synthetic_set_can_be_learned_and_is_harder_for_an_mlp():
    examples = load("synthetic", Path("unused"), CPU, quick=True)
    reached = {}
    for name in ("mlp_1", "cnn_4"):
        torch.manual_seed(0)
        model = build(name).to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(model.parameters(), fused=True)
        generator = torch.Generator().manual_seed(0)
        for _ in train(model, optimizer, examples.train, range(3), 50, generator):
            pass
        reached[name] = accuracy(model, examples.val).item()
    assert 20 < reached["mlp_1"] < reached["cnn_4"] - 10


def test_quick_data_are_a_part_of_the_whole_with_another_checksum():
    whole = load("synthetic", Path("unused"), CPU)
    quick = load("synthetic", Path("unused"), CPU, quick=True)
    assert len(quick.train.labels) == 4500
    assert len(quick.val.labels) == 500
    assert len(quick.test.labels) == 1000
    assert whole.sha256 != quick.sha256


def test_without_a_split_all_images_train():
    examples = load("synthetic", Path("unused"), CPU, quick=True, split_seed=None)
    assert len(examples.train.labels) == 5000
    assert len(examples.val.labels) == 0
    assert isinstance(examples.train, Examples)


def test_real_data_are_cifar10(cifar10_dir):
    examples = load("cifar10", cifar10_dir, CPU)
    assert examples.train.images.shape == (45_000, 1, 32, 32)
    assert examples.val.labels.bincount().tolist() == [500] * 10
    assert examples.test.labels.bincount().tolist() == [1000] * 10
    assert examples.train.images.min() == -1.0
    assert examples.train.images.max() == 1.0
    assert examples.test.labels[:5].tolist() == [3, 8, 8, 0, 6]  # cat, ship, ship, airplane, frog
