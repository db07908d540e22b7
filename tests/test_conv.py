"""Part 2: my_conv2d against torch.conv2d, and the script around it."""

import json
import re

import numpy as np
import pytest
import torch
from conftest import ROOT, call_script

from part2_conv import compare_with_torch, draw_digits, make_kernels, my_conv2d

COURSE_FILES = ROOT.parent / "shared" / "part2"


def by_torch(input, kernel):
    return torch.conv2d(*(torch.from_numpy(a.astype(np.float64)) for a in (input, kernel))).numpy()


@pytest.mark.parametrize("code", "?bhiqBHIQefd")  # bool to float64
def test_equals_torch_for_every_shape_and_dtype(code):
    """Of small whole numbers, which are exact. The arrays that are given are not modified."""
    generator, dtype = np.random.default_rng(ord(code)), np.dtype(code)
    values = {"b": [0, 1], "u": [0, 1, 2, 3]}.get(dtype.kind, [-4, -1, 0, 1, 2])
    for _ in range(20):
        n, o, c, h, w, *more = generator.integers(1, 4, 7)
        shapes = ((n, c, h + more[0] - 1, w + more[1]), (o, c, h, w))
        arrays = [generator.choice(values, shape).astype(dtype) for shape in shapes]
        before = [array.copy() for array in arrays]
        out = my_conv2d(*arrays)
        assert out.dtype == np.result_type(dtype, np.float32)
        np.testing.assert_array_equal(out, by_torch(*arrays))
        np.testing.assert_equal(arrays, before)


def test_equals_torch_for_real_numbers():
    generator = np.random.default_rng(0)
    input, kernel = (generator.standard_normal(s) for s in ((4, 16, 12, 11), (6, 16, 5, 2)))
    np.testing.assert_allclose(my_conv2d(input, kernel), by_torch(input, kernel), atol=1e-12)


def test_course_files():
    if not COURSE_FILES.exists():
        pytest.skip("the course's files are not in ../shared/part2")
    kernel = np.load(COURSE_FILES / "kernel.npy")
    files = sorted(COURSE_FILES.glob("samples_*.npy"))
    assert files
    for samples in map(np.load, files):
        out = my_conv2d(samples, kernel)
        assert out.shape == (5, 8, 25, 25)
        np.testing.assert_allclose(out, by_torch(samples, kernel), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("input", "kernel"),
    [
        ((28, 28), (8, 1, 4, 4)),
        ((5, 1, 28, 28), (8, 2, 4, 4)),
        ((5, 1, 28, 28), (8, 1, 4, 29)),
        ((0, 1, 28, 28), (8, 1, 4, 4)),
    ],
)
def test_bad_shapes_are_refused_and_named(input, kernel):
    with pytest.raises(ValueError, match=re.escape(f"{input}, kernel is float64 {kernel}")):
        my_conv2d(np.ones(input), np.ones(kernel))


# ---- The script


def test_built_in_input_has_the_course_shapes_and_a_folder_of_its_own(tmp_path):
    digits, kernels = draw_digits(), make_kernels()
    assert (digits.shape, kernels.shape) == ((5, 1, 28, 28), (8, 1, 4, 4))
    assert (digits.dtype, digits.min()) == (np.uint8, 0)
    assert len({array.tobytes() for array in (*digits, *kernels)}) == 5 + 8
    call_script("part2_conv.py", cwd=tmp_path)
    made = {path.name for path in (tmp_path / "results" / "synthetic").iterdir()}
    assert made == {"part2.png", "part2_kernels.png", "part2_out.npy", "part2.json"}


def test_what_the_script_says_and_keeps(tmp_path):
    images, kernel = np.ones((2, 1, 6, 6)), np.full((1, 1, 2, 2), 0.1)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "kernel.npy", kernel)
    files = ("--samples", "images.npy", "--kernel", "kernel.npy")
    call_script("part2_conv.py", *files, cwd=tmp_path)
    results = tmp_path / "results"
    known = json.loads((results / "part2.json").read_text())
    assert (known["samples"], known["kernel_sums"]) == ("images.npy", [0.4])
    assert 0 <= known["largest_difference"] < 1e-12
    out = np.load(results / "part2_out.npy")
    out[1, 0, 3, 1] += 5
    assert compare_with_torch(images, kernel, out) == pytest.approx(5)
    bad = call_script("part2_conv.py", "--samples", "kernel.npy", cwd=tmp_path, status=1)
    assert "(1, 1, 2, 2)" in bad.stderr  # smaller than the built-in kernels
