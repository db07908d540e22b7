"""A stand-in for CIFAR-10 that needs no file and no network: ten shapes and textures in gray.

The shapes lie anywhere, in any size, brighter or darker than what is behind them, under noise. So
pixels at fixed places say little: a network that shares its weights over places does better.
"""

import numpy as np

TRAIN_PER_CLASS, TEST_PER_CLASS = 1000, 200
NOISE = 12.0  # standard deviation, in gray levels


def draw_synthetic(seed: int = 0) -> dict[str, np.ndarray]:
    """Draw 10,000 training and 2,000 test images of ten classes, equally many of each.

    Returns train_images (10000, 32, 32), train_labels (10000,), test_images (2000, 32, 32) and
    test_labels (2000,), all uint8; the same for the same seed.
    """
    generator = np.random.default_rng(seed)
    arrays = {}
    for subset, per_class in (("train", TRAIN_PER_CLASS), ("test", TEST_PER_CLASS)):
        labels = generator.permutation(np.repeat(np.arange(10), per_class))
        arrays[f"{subset}_images"] = _draw(labels, generator)
        arrays[f"{subset}_labels"] = labels.astype(np.uint8)
    return arrays


def _draw(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Images (N, 32, 32) uint8 of the classes `labels` (N,)."""

    def uniform(low: float, high: float) -> np.ndarray:
        return generator.uniform(low, high, (len(labels), 1, 1)).astype(np.float32)

    radius = uniform(7, 12)
    axis = np.arange(32, dtype=np.float32)
    x = axis[None, None, :] - 15.5 - uniform(-1, 1) * (15.5 - radius)  # from the shape's centre
    y = axis[None, :, None] - 15.5 - uniform(-1, 1) * (15.5 - radius)
    angle = uniform(-0.3, 0.3)
    x, y = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y

    inside = np.empty((len(labels), 32, 32), dtype=bool)
    for label, shape in enumerate(SHAPES):
        members = labels == label
        inside[members] = shape(x[members], y[members], radius[members])

    background = uniform(110, 145)
    contrast = uniform(60, 110) * np.where(uniform(-1, 1) < 0, -1, 1)
    noise = generator.standard_normal(inside.shape, dtype=np.float32) * NOISE
    return np.clip(background + contrast * inside + noise, 0, 255).astype(np.uint8)


def _disc(x, y, r):
    return x * x + y * y < r * r


def _square(x, y, r):
    return np.maximum(abs(x), abs(y)) < 0.8 * r


def _triangle(x, y, r):
    return (y < 0.7 * r) & (y > 1.8 * abs(x) - r)


SHAPES = (  # each: inside or not, from x, y and the radius r in pixels
    _disc,
    lambda x, y, r: _disc(x, y, r) & ~_disc(x, y, 0.6 * r),  # ring
    _square,
    lambda x, y, r: _square(x, y, r) & ~_square(x, y, 0.6 * r),  # frame
    _triangle,
    lambda x, y, r: _square(x, y, 1.2 * r) & (np.minimum(abs(x), abs(y)) < 0.25 * r),  # plus
    lambda x, y, r: _square(x, y, 1.1 * r) & (abs(abs(x) - abs(y)) < 0.35 * r),  # cross
    lambda x, y, r: _square(x, y, r) & (y % 5 < 2.5),  # horizontal stripes
    lambda x, y, r: _square(x, y, r) & (x % 5 < 2.5),  # vertical stripes
    lambda x, y, r: _square(x, y, r) & ((x % 6 < 3) ^ (y % 6 < 3)),  # chequerboard
)
