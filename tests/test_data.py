"""The sets of images: split, scaled, grayscale, drawn; and the batches of an epoch."""

from pathlib import Path

from experiments.training import evaluate, new_model, new_optimizer, train

import numpy as np
import pytest
import torch
from helpers_records import options
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset
from torchvision import transforms

import part3_architectures as part3
from data import BatchLoader, Examples, draw_synthetic, load, scale, stratified_split, to_gray

CPU = torch.device("cpu")


def numbered(count):
    """Examples whose images hold their number."""
    numbers = torch.arange(count)
    return Examples(numbers.float().reshape(-1, 1, 1, 1), numbers % 10)


def numbers_of(batches):
    return torch.cat([images.flatten() for images, _ in batches]).tolist()


def test_every_epoch_brings_all_images_once_in_a_new_order():
    loader = BatchLoader(numbered(95), 20, seed=0)
    epochs = [list(loader), list(loader)]
    assert len(loader) == 5
    for batches in epochs:
        assert [len(labels) for _, labels in batches] == [20, 20, 20, 20, 15]
        assert sorted(numbers_of(batches)) == list(range(95))
        for images, labels in batches:
            assert torch.equal(images.flatten() % 10, labels.float())
    first, second = map(numbers_of, epochs)
    assert first != second
    assert list(range(95)) not in (first, second)
    again = BatchLoader(numbered(95), 20, seed=0)
    assert [numbers_of(again), numbers_of(again)] == [first, second]


def test_without_shuffling_images_come_in_their_order():
    assert numbers_of(BatchLoader(numbered(95), 20, shuffle=False)) == list(range(95))


@pytest.mark.parametrize("shuffle", [False, True])
def test_torchs_loader_can_take_its_place(shuffle):
    """It is made from the same arguments, gives such batches, and `train` takes it."""
    generator = torch.manual_seed(0)
    images = torch.rand(95, 1, 32, 32, generator=generator)
    examples = Examples(images, torch.randint(10, (95,), generator=generator))
    shapes, curves = [], []
    for loader in (
        BatchLoader(examples, batch_size=10, shuffle=shuffle),
        DataLoader(TensorDataset(*examples), batch_size=10, shuffle=shuffle),
    ):
        assert len(loader) == 10
        shapes.append([(x.shape, x.dtype, y.shape, y.dtype) for x, y in loader])
        config = part3.configure("mlp_1", options())
        model = new_model(config, CPU)
        points = list(train(model, new_optimizer(config, model, 0.01), loader, range(6), 10))
        curves.append([(point.step, point.loss.item()) for point in points])
        if shuffle:
            assert curves[-1][-1][1] < curves[-1][0][1]
    assert shapes[0] == shapes[1]
    assert shuffle or curves[0] == curves[1]


def test_split_takes_a_tenth_of_each_class():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 5000))
    train_indices, val_indices = stratified_split(labels, seed=449)
    assert np.bincount(labels[val_indices]).tolist() == [500] * 10
    assert np.bincount(labels[train_indices]).tolist() == [4500] * 10
    assert sorted([*train_indices, *val_indices]) == list(range(50_000))


def test_split_depends_on_the_seed_alone():
    labels = np.repeat(np.arange(10), 100)
    first, again, other = (stratified_split(labels, seed)[1] for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()


def test_scale_maps_black_and_white_to_the_ends_of_the_range():
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    scaled = scale(images)
    assert scaled.dtype == torch.float32
    assert scaled.shape == (1, 1, 16, 16)
    assert (scaled.min(), scaled.max()) == (-1.0, 1.0)
    torch.testing.assert_close(scaled.flatten()[128], torch.tensor(128 / 127.5 - 1))
    assert torch.equal(scale(images, (0.0, 255.0)).squeeze(1), images.float())


def test_gray_is_pillows_and_torchvisions():
    rgb = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    for image, gray in zip(rgb, to_gray(rgb), strict=True):
        picture = Image.fromarray(image)
        np.testing.assert_array_equal(gray, np.asarray(picture.convert("L")))
        np.testing.assert_array_equal(gray, np.asarray(transforms.Grayscale()(picture)))


@pytest.fixture(scope="module")
def synthetic():
    return draw_synthetic()


@pytest.fixture(scope="module")
def quick():
    return load("synthetic", Path("unused"), CPU, quick=True)


def test_synthetic_set_is_balanced_and_depends_on_the_seed_alone(synthetic):
    again, other = draw_synthetic(), draw_synthetic(seed=1)
    assert synthetic["train_images"].shape == (10_000, 32, 32)
    assert synthetic["train_images"].dtype == np.uint8
    assert np.bincount(synthetic["train_labels"]).tolist() == [1000] * 10
    assert np.bincount(synthetic["test_labels"]).tolist() == [200] * 10
    assert all(np.array_equal(synthetic[name], again[name]) for name in synthetic)
    assert not np.array_equal(synthetic["train_images"], other["train_images"])


def test_synthetic_set_can_be_learned_and_is_harder_for_an_mlp(quick):
    reached = {}
    for name in ("mlp_1", "cnn_5"):
        config = part3.configure(name, options(batch_size=50))
        model = new_model(config, CPU)
        loader = BatchLoader(quick.train, config.batch_size, seed=config.seed)
        for _ in train(model, new_optimizer(config, model, 0.002), loader, range(2), 10):
            pass
        reached[name] = evaluate(model, quick.val).item()
    assert 20 < reached["mlp_1"] < reached["cnn_5"] - 10, reached


def test_quick_data_are_the_first_images_of_each_class(quick, synthetic):
    whole = load("synthetic", Path("unused"), CPU, split_seed=None)
    assert whole.sha256 != quick.sha256
    first = load("synthetic", Path("unused"), CPU, quick=True, split_seed=None)
    for label in range(10):
        kept = first.train.images[first.train.labels == label]
        assert torch.equal(kept, whole.train.images[whole.train.labels == label][:500])
        assert (first.test.labels == label).sum() == 100


def test_the_sets_are_those_of_the_split(quick):
    whole = load("synthetic", Path("unused"), CPU, quick=True, split_seed=None)
    assert len(whole.val.labels) == 0
    split = stratified_split(whole.train.labels.numpy(), seed=449)
    for examples, indices in zip((quick.train, quick.val), split, strict=True):
        assert torch.equal(examples.images, whole.train.images[indices])
        assert torch.equal(examples.labels, whole.train.labels[indices])
    assert torch.equal(quick.test.images, whole.test.images)
    sets = [{image.numpy().tobytes() for image in examples.images}
            for examples in (quick.train, quick.val, quick.test)]  # fmt: skip
    assert len(set.union(*sets)) == sum(map(len, sets))


def test_real_data_are_cifar10(cifar10_dir):
    data = load("cifar10", cifar10_dir, CPU)
    assert data.train.images.shape == (45_000, 1, 32, 32)
    assert data.val.labels.bincount().tolist() == [500] * 10
    assert data.test.labels.bincount().tolist() == [1000] * 10
    assert data.train.images.min() == -1.0
    assert data.train.images.max() == 1.0
    assert data.test.labels[:5].tolist() == [3, 8, 8, 0, 6]  # cat, ship, ship, airplane, frog
