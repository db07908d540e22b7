"""The sets of images: split, scaled, grayscale, drawn; and the batches of an epoch."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torchvision import transforms

import data
from data import BatchLoader, Examples, first_of_each_class, stratified_split
from models import build

CPU = torch.device("cpu")
EXAMPLES = Examples(torch.arange(95.0).reshape(-1, 1, 1, 1), torch.arange(95) % 10)


def batches(loader):
    return [(images.flatten().tolist(), labels.tolist()) for images, labels in loader]


@pytest.mark.parametrize("arguments", [{}, {"seed": 3}, {"shuffle": False}])
def test_batches_are_those_of_torchs_loader(arguments):
    """A new permutation for each epoch, and the same ones for the same seed."""
    loader = BatchLoader(EXAMPLES, batch_size=20, **arguments)
    generator, epochs = torch.Generator().manual_seed(arguments.get("seed", 0)), []
    for _ in range(2):
        shuffled = torch.randperm(95, generator=generator).tolist()
        order = shuffled if "shuffle" not in arguments else range(95)
        torchs = DataLoader(TensorDataset(*EXAMPLES), batch_size=20, sampler=order)
        epochs.append(batches(loader))
        assert epochs[-1] == batches(torchs)
        assert len(loader) == len(torchs) == 5
    assert (epochs[0] == epochs[1]) == ("shuffle" in arguments)


def test_split_takes_a_tenth_of_each_class_and_depends_on_the_seed_alone():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 5000))
    train_indices, val_indices = stratified_split(labels, seed=449)
    assert np.bincount(labels[val_indices]).tolist() == [500] * 10
    assert sorted([*train_indices, *val_indices]) == list(range(50_000))
    again, other = (stratified_split(labels, seed)[1].tolist() for seed in (449, 1))
    assert val_indices.tolist() == again != other


def test_scale_is_exact_at_both_ends():
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    scaled = data.scale(images)
    assert (scaled.dtype, scaled.shape) == (torch.float32, (1, 1, 16, 16))
    assert (scaled.min(), scaled.max()) == (-1.0, 1.0)
    torch.testing.assert_close(scaled.flatten()[128], torch.tensor(128 / 127.5 - 1))
    assert torch.equal(data.scale(images, (0.0, 255.0)).squeeze(1), images.float())


def test_gray_is_pillows_and_torchvisions():
    rgb = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    for image, gray in zip(rgb, data.to_gray(rgb), strict=True):
        picture = Image.fromarray(image)
        np.testing.assert_array_equal(gray, np.asarray(picture.convert("L")))
        np.testing.assert_array_equal(gray, np.asarray(transforms.Grayscale()(picture)))


@pytest.fixture(scope="module")
def synthetic():
    return data.draw_synthetic()


@pytest.fixture(scope="module")
def quick(synthetic):
    return first_of_each_class(synthetic)


def test_synthetic_set_is_balanced_and_depends_on_the_seed_alone(synthetic):
    assert synthetic["train_images"].shape == (10_000, 32, 32)
    assert np.bincount(synthetic["train_labels"]).tolist() == [1000] * 10
    assert np.bincount(synthetic["test_labels"]).tolist() == [200] * 10
    again, other = (data.sha256(data.draw_synthetic(seed)) for seed in (0, 1))
    assert data.sha256(synthetic) == again != other


def test_synthetic_set_can_be_learned_and_is_harder_for_an_mlp(quick):
    sets, accuracy = data.prepare(quick, CPU), {}
    for name in ("mlp_1", "cnn_5"):
        torch.manual_seed(0)
        model = build(name)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
        loader = BatchLoader(sets.train, batch_size=50)
        for _ in range(2):
            for images, labels in loader:
                optimizer.zero_grad()
                cross_entropy(model(images), labels).backward()
                optimizer.step()
        accuracy[name] = 100 * (model(sets.val.images).argmax(1) == sets.val.labels).float().mean()
    assert 20 < accuracy["mlp_1"] < accuracy["cnn_5"] - 10, accuracy


def test_quick_data_are_the_first_images_of_each_class(synthetic, quick):
    for subset, count in (("train", 500), ("test", 100)):
        images, labels = (f"{subset}_{kind}" for kind in ("images", "labels"))
        for label in range(10):
            first = synthetic[images][synthetic[labels] == label][:count]
            assert np.array_equal(quick[images][quick[labels] == label], first)


def test_the_sets_are_those_of_the_split(quick):
    train, val = stratified_split(quick["train_labels"], data.SPLIT_SEED)
    split = data.load("synthetic", "unused", CPU, quick=True)
    whole = data.prepare(quick, CPU, split_seed=None)
    assert whole.sha256 == split.sha256 == data.sha256(quick)
    for examples, subset, chosen in [
        (split.train, "train", train), (split.val, "train", val), (split.test, "test", ...),
        (whole.train, "train", ...), (whole.val, "train", []), (whole.test, "test", ...),
    ]:  # fmt: skip
        images = torch.from_numpy(quick[f"{subset}_images"][chosen])
        assert torch.equal(examples.images, data.scale(images))
        assert examples.labels.tolist() == quick[f"{subset}_labels"][chosen].tolist()


@pytest.mark.parametrize("shuffle", [False, True])
def test_pytorchs_default_device_changes_nothing(shuffle, quick):
    """A notebook may have set it. On "meta" there are no numbers, so nothing may be made there."""
    expected = batches(BatchLoader(data.prepare(quick, CPU).val, 50, shuffle))
    torch.set_default_device("meta")
    try:
        assert batches(BatchLoader(data.prepare(quick, CPU).val, 50, shuffle)) == expected
    finally:
        torch.set_default_device(None)


def test_another_name_of_a_dataset_is_an_error():
    with pytest.raises(ValueError, match="mnist"):
        data.load("mnist", "unused", CPU)


def test_real_data_are_cifar10(cifar10_dir):
    sets = data.load("cifar10", cifar10_dir, CPU)
    assert sets.train.images.shape == (45_000, 1, 32, 32)
    assert sets.val.labels.bincount().tolist() == [500] * 10
    assert sets.test.labels.bincount().tolist() == [1000] * 10
    assert (sets.train.images.min(), sets.train.images.max()) == (-1.0, 1.0)
    assert sets.test.labels[:5].tolist() == [3, 8, 8, 0, 6]  # cat, ship, ship, airplane, frog
