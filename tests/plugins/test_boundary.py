"""What passes between the engine and a restorer: copies out; plain arrays, numbers and words back, or a failure."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from bench.plugins.boundary import (
    BadAnswerError,
    check_answer,
    check_untouched,
    count,
    flag,
    handed,
    in_a_line,
    number,
    printable,
    text,
    words,
)
from bench.restorer import Observation

IMAGE = np.random.default_rng(0).random((5, 8, 1), dtype=np.float32)
NOISY = Observation(IMAGE, "denoise", sigma=25.0)
MOSAIC = Observation(IMAGE, "demosaick", pattern="RGGB", mask=np.zeros((5, 8, 3), bool))
BLURRED = Observation(IMAGE, "deblur", known={"kernel": np.ones((3, 3)) / 9, "sigma": 2.0, "mask": IMAGE > 0.5})


class TestAnObservation:
    def test_has_what_is_known_by_name_and_what_it_has_fields_for_there_too(self):
        assert (BLURRED.sigma, BLURRED.scale) == (2.0, None)
        assert BLURRED.mask is BLURRED.known["mask"]

    def test_is_handed_over_with_copies_of_what_is_known(self):
        given = handed(BLURRED)
        check_untouched(given, BLURRED)
        assert given.mask is given.known["mask"]
        for name in ("kernel", "mask"):
            assert not np.shares_memory(given.known[name], BLURRED.known[name])
        given.known["kernel"][0, 0] = 7
        with pytest.raises(BadAnswerError, match=r"changed the observation it was given \(known\)"):
            check_untouched(given, BLURRED)

    @pytest.mark.parametrize("seen", [NOISY, MOSAIC, replace(NOISY, image=np.rot90(IMAGE))])
    def test_is_handed_over_as_a_copy_that_may_be_written_to(self, seen):
        given = handed(seen)
        check_untouched(given, seen)
        for own, kept in ((given.image, seen.image), (given.mask, seen.mask)):
            if kept is not None:
                assert not np.shares_memory(own, kept)
                assert own.flags.c_contiguous
                assert own.flags.writeable

    @pytest.mark.parametrize(
        ("seen", "name", "value"),
        [
            (NOISY, "image", IMAGE + 1),
            (NOISY, "image", IMAGE[:, :, 0]),
            (NOISY, "image", IMAGE.astype(np.float64)),
            (NOISY, "image", None),
            (NOISY, "sigma", 25),  # a number of another kind
            (NOISY, "sigma", np.array([25.0, 25.0])),
            (NOISY, "task", "deblock"),
            (NOISY, "mask", np.ones((5, 8, 3), bool)),
            (MOSAIC, "mask", ~MOSAIC.mask),
            (MOSAIC, "pattern", "BGGR"),
        ],
    )
    def test_that_was_changed_is_told_by_what_was_changed(self, seen, name, value):
        given = handed(seen)
        object.__setattr__(given, name, value)
        with pytest.raises(BadAnswerError, match=rf"^changed the observation it was given \({name}\)"):
            check_untouched(given, seen)

    def test_that_was_changed_in_one_pixel_is_seen(self):
        given = handed(NOISY)
        given.image[4, 7] += 1e-6
        with pytest.raises(BadAnswerError):
            check_answer(given.image.copy(), given, NOISY)


class Own(np.ndarray):
    pass


class TestAnAnswer:
    @pytest.mark.parametrize("make", [lambda x: x, lambda x: x[::-1], lambda x: np.broadcast_to(x[:1], x.shape)])
    def test_may_be_the_observation_or_a_view(self, make):
        given = handed(NOISY)
        check_answer(make(given.image), given, NOISY)

    @pytest.mark.parametrize(
        ("x_hat", "problem"),
        [
            (None, "answered with builtins.NoneType, expected a plain NumPy array"),
            (IMAGE.tolist(), "answered with builtins.list, expected a plain NumPy array"),
            (torch.tensor(IMAGE), "answered with torch.Tensor, expected a plain NumPy array"),
            (
                np.ma.masked_array(IMAGE),
                r"answered with numpy\.ma(\.core)?\.MaskedArray, expected a plain NumPy array",
            ),
            (IMAGE.view(Own), "answered with .*Own, expected a plain NumPy array"),
            (IMAGE.astype(np.float64), "answered with float64, expected float32"),
            (IMAGE.astype(">f4"), "answered with >f4, expected float32"),
            (IMAGE[1:], r"answered with shape \(4, 8, 1\), expected \(5, 8, 1\)"),
            (IMAGE[..., 0], r"answered with shape \(5, 8\), expected \(5, 8, 1\)"),
            (np.where(IMAGE > 0.5, np.inf, IMAGE), r"\d+ of 40 values of the answer are not finite"),
        ],
    )
    def test_that_will_not_do_is_told_by_what_it_is(self, x_hat, problem):
        with pytest.raises(BadAnswerError, match=f"^{problem}$"):
            check_answer(x_hat, handed(NOISY), NOISY)


class Rude:
    """Raises whatever is asked of it."""

    def __repr__(self):
        raise RuntimeError

    def item(self):
        raise RuntimeError


def kind(value):
    return type(value).__name__


SEVEN = [7, 7.0, np.int64(7), np.uint8(7), np.float32(7), np.array(7), np.array([[7]]), torch.tensor(7), Fraction(7)]


class TestAFigure:
    @pytest.mark.parametrize("value", [*SEVEN, torch.tensor([7.0], dtype=torch.bfloat16), np.longdouble(7)])
    def test_is_pythons_own_whoever_counted(self, value):
        assert (count("n_params()", value), type(count("n_params()", value))) == (7, int)
        assert (number("macs_per_pixel()", value), type(number("macs_per_pixel()", value))) == (7.0, float)

    def test_is_not_rounded(self):
        assert count("n_params()", 2**63 - 1) == 2**63 - 1
        assert count("n_params()", np.int64(2**53 + 1)) == 2**53 + 1
        assert number("estimated_level", np.float32(0.1)) == float(np.float32(0.1))

    def test_may_be_left_out_where_none_stands_for_not_counted(self):
        assert number("macs_per_pixel()", None) is None

    @pytest.mark.parametrize(
        "value",
        [
            *(None, "7", b"7", True, np.True_, 7j, [7], (n for n in [7]), Rude(), Rude),
            *(7.5, float("nan"), float("inf"), -1, np.int8(-1), 2**63, 1e19, 10**40, 10**5000),
            *(np.array([3, 4]), np.array([]), torch.ones(2), torch.ones(1, device="meta"), np.datetime64(7, "s")),
        ],
        ids=kind,
    )
    def test_that_is_no_count_is_refused_by_name(self, value):
        with pytest.raises(BadAnswerError, match=r"^n_params\(\) gave .+, expected a whole number from 0 to \d+$"):
            count("n_params()", value)

    @pytest.mark.parametrize(
        "value",
        [
            *("7", True, 7j, [20.0, 30.0], {}, Rude(), 10**400, np.array([20.0, 30.0]), torch.ones(2)),
            *(float("nan"), np.float32("inf"), torch.tensor(float("-inf"))),
        ],
        ids=kind,
    )
    def test_that_is_not_finite_is_refused_by_name(self, value):
        with pytest.raises(BadAnswerError, match=r"^estimated_level gave (?s:.)+, expected a finite number or None$"):
            number("estimated_level", value)

    def test_shows_what_it_was(self):
        with pytest.raises(BadAnswerError, match=r"^n_params\(\) gave '7', expected"):
            count("n_params()", "7")


class Word(str):
    __slots__ = ()

    def __str__(self):
        return "something else"


class TestWords:
    @pytest.mark.parametrize(
        "value", [("cpu", "cuda"), ["cpu", "cuda"], {"cpu": 1, "cuda": 2}, ("cpu", Word("cuda"))]
    )
    def test_are_plain_text(self, value):
        assert words("devices", value) == ("cpu", "cuda")
        assert {type(word) for word in words("devices", value)} == {str}

    @pytest.mark.parametrize("value", ["cpu", None, 7, [b"cpu"], ("cpu", None), (w for w in ["cpu"])])
    def test_that_are_none_are_refused(self, value):
        with pytest.raises(BadAnswerError, match=r"^devices is .+, expected words, as in \('cpu', 'cuda'\)$"):
            words("devices", value)

    def test_of_a_reason_stand_in_a_line(self):
        assert text("why_not()", None) is None
        assert text("why_not()", Word("too\n large")) == "too large"
        assert type(text("why_not()", Word("large"))) is str

    @pytest.mark.parametrize("value", [False, 0, b"no", ["no"], Exception("no")])
    def test_of_a_reason_are_text(self, value):
        with pytest.raises(BadAnswerError, match=r"^why_not\(\) gave .+, expected text or None$"):
            text("why_not()", value)

    def test_yes_and_no_are_true_and_false(self):
        assert flag("needs_weights", np.True_) is True
        for value in ("no", 1, None, [False]):
            with pytest.raises(BadAnswerError, match=r"^needs_weights is .+, expected True or False$"):
                flag("needs_weights", value)

    @pytest.mark.parametrize("said", ["caf\udce9", "\ud800 and \udfff", "é, 漢, 🎈"])
    def test_can_be_written_down(self, said):
        assert printable(said).encode("utf-8").decode() == printable(said)
        assert printable(said) == (said if "é" in said else said.encode("ascii", "backslashreplace").decode())

    def test_do_not_go_on_for_ever(self):
        assert len(in_a_line("much " * 10**6)) == 500
        assert in_a_line("much " * 10**6).endswith("…")
