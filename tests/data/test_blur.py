"""Kernels and what they do to a picture, against SciPy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from bench.data.blur import blurred, gaussian, kernel_named, motion, normalised, read_kernel, uniform
from bench.data.degrade import fingerprint
from bench.data.errors import DataError
from PIL import Image
from scipy.ndimage import convolve


@pytest.mark.parametrize("size", [(5, 5), (4, 5), (3, 6), (1, 1), (25, 25)], ids=str)
def test_blurs_as_scipy_does_with_a_picture_that_repeats(size):
    random = np.random.RandomState(0)
    kernel = normalised(random.rand(*size))
    clean = random.rand(13, 17, 3).astype(np.float32)  # smaller than the largest kernel
    expected = convolve(clean.astype(float), kernel[..., None], mode="wrap")
    assert np.abs(blurred(clean, kernel) - expected).max() < 1e-6


def test_an_impulse_becomes_the_kernel_with_its_middle_there():
    kernel = normalised(np.array([[0, 1, 0], [2, 4, 0], [0, 0, 1]]))
    impulse = np.zeros((5, 5, 1), np.float32)
    impulse[2, 2] = 1
    assert np.array_equal(blurred(impulse, kernel)[1:4, 1:4, 0], kernel)


def test_a_gaussian_has_its_standard_deviation_and_the_size_of_the_papers():
    kernel = gaussian(1.6)
    offsets = np.arange(25) - 12
    assert kernel.shape == (25, 25)
    assert np.sqrt(kernel.sum(axis=1) @ offsets**2) == pytest.approx(1.6, rel=1e-5)
    assert kernel[12, 12] / kernel[12, 14] == pytest.approx(np.exp(4 / (2 * 1.6**2)), rel=1e-9)
    assert gaussian(5).shape == (41, 41)


def test_a_motion_along_an_axis_is_a_mean_of_its_length():
    assert motion(9, 0)[4].tolist() == [1 / 9] * 9
    assert np.array_equal(motion(9, 90), motion(9, 0).T)
    assert motion(1, 30).tolist() == [[1]]


def test_a_motion_of_45_degrees_rises_to_the_right():
    kernel = motion(7, 45)
    rows, columns = np.nonzero(kernel > 0.1)
    assert (rows + columns == 6).all()
    # by hand: the middle lies on the line, and its neighbours above and beside it 1 / sqrt 2 away from it
    assert kernel[3, 2] / kernel[3, 3] == pytest.approx(1 - np.sqrt(0.5))


def test_bits_are_the_same_on_every_machine():
    clean = (np.arange(32 * 32 * 3, dtype=np.float32) % 251 / 250).reshape(32, 32, 3)
    found = [fingerprint(blurred(clean, k))[:16] for k in (gaussian(1.6), motion(15, 30), uniform(9))]
    assert found == ["d752626a95d20aa6", "00d8d819a8a42a8f", "fe026b547c65acaf"]


def test_kernels_come_from_arrays_and_pictures(tmp_path):
    np.save(tmp_path / "k.npy", np.array([[0, 1.0], [3, 0]]))
    Image.fromarray(np.array([[0, 50], [150, 0]], np.uint8)).save(tmp_path / "k.png")
    assert read_kernel(tmp_path / "k.npy").tolist() == [[0, 0.25], [0.75, 0]]
    assert kernel_named(f"{tmp_path}/k.png").tolist() == [[0, 0.25], [0.75, 0]]


def test_kernels_have_names():
    assert np.array_equal(kernel_named("gaussian-1.6"), gaussian(1.6))
    assert np.array_equal(kernel_named("motion-15-45"), motion(15, 45))
    assert np.array_equal(kernel_named("uniform-9"), uniform(9))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "gauss-2",
            "No kernel named 'gauss-2'. Did you mean 'gaussian'? Known: gaussian, motion, uniform. "
            "Spelled gaussian-STD, motion-LENGTH-ANGLE, uniform-SIDE, or ./file.",
        ),
        ("gaussian", "The kernel 'gaussian' is not spelled as gaussian-STD."),
        ("motion-15", "The kernel 'motion-15' is not spelled as motion-LENGTH-ANGLE."),
        ("gaussian-0", "A Gaussian blur of 0.0 pixels: it must be above 0, and at most 12.5."),
        ("motion-0.5-0", "A motion of 0.5 pixels: it must be from 1 to 99."),
        ("motion-5-inf", "A motion at an angle of inf: it must be a number of degrees."),
        ("uniform-4", "A uniform blur of 4 pixels: it must be an odd number from 1 to 101."),
        ("./none.npy", "none.npy cannot be read: No such file or directory."),
    ],
)
def test_a_name_that_will_not_do_is_one_line(name, words):
    with pytest.raises(DataError) as raised:
        kernel_named(name)
    assert str(raised.value) == words


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((3, 3)), "sums to 0: a blur that keeps brightness has a sum above 0."),
        (np.array([[1.0, -1.0]]), "sums to 0: a blur that keeps brightness has a sum above 0."),
        (np.array([[1.0, np.nan]]), "holds values that are not finite."),
        (np.ones(3), r"has the shape (3,): rows and columns are expected."),
        (np.ones((3, 103)), "has 3 x 103 values: at most 101 x 101 are read."),
    ],
    ids=["zero", "sums-to-zero", "nan", "a-row", "large"],
)
def test_a_file_that_is_no_kernel_is_one_line(tmp_path, values, words):
    np.save(tmp_path / "k.npy", values)
    with pytest.raises(DataError) as raised:
        read_kernel(tmp_path / "k.npy")
    assert str(raised.value) == f"The kernel {tmp_path / 'k.npy'} {words}"


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY\x01\x00\x10\x00{}", b"\x80\x04N."], ids=["empty", "cut", "pickle"]
)
def test_a_damaged_array_is_one_line_and_a_pickle_is_not_run(tmp_path, content):
    path = tmp_path / "k.npy"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"k\.npy cannot be read as a NumPy array: .+\.$"):
        read_kernel(path)


def test_objects_and_complex_numbers_are_no_kernel(tmp_path):
    np.save(tmp_path / "k.npy", np.array([[1j]]))
    with pytest.raises(DataError, match="it holds no real numbers"):
        read_kernel(tmp_path / "k.npy")


def test_a_kernel_in_colour_is_one_line(tmp_path):
    Image.fromarray(np.arange(27, dtype=np.uint8).reshape(3, 3, 3)).save(tmp_path / "k.png")
    with pytest.raises(DataError, match=r"k\.png is in colour\. Save it as gray, or its values as \.npy\."):
        read_kernel(tmp_path / "k.png")
