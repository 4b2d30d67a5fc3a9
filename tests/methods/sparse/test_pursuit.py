"""Pursuit: the same atoms and coefficients as the textbook's algorithms, evaluated as they are written."""

from __future__ import annotations

import numpy as np
import pytest
from bench.methods.sparse.pursuit import omp, simultaneous_omp

rules = pytest.mark.parametrize("rule", ["correlation", "decrease"])


def problem(n: int, m: int, p: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Signals (n, m) of standard normal values and a dictionary (m, p) of unit atoms, in double precision."""
    rng = np.random.default_rng(seed)
    D = rng.normal(size=(m, p))
    return rng.normal(size=(n, m)), D / np.linalg.norm(D, axis=0)


def textbook(X: np.ndarray, D: np.ndarray, error: float, max_atoms: int, rule: str) -> tuple[list[int], np.ndarray]:
    """(Simultaneous) OMP of the rows of X: each atom tried, each refit by least squares. Atoms and estimates."""
    atoms: list[int] = []
    estimate = np.zeros_like(X)
    while len(atoms) < max_atoms and ((X - estimate) ** 2).sum() > error:
        if rule == "correlation":
            gain = (((X - estimate) @ (D / np.linalg.norm(D, axis=0))) ** 2).sum(0)
        else:
            gain = np.array([-((X - fitted(X, D[:, [*atoms, j]])) ** 2).sum() for j in range(D.shape[1])])
        gain[atoms] = -np.inf
        atoms.append(int(gain.argmax()))
        estimate = fitted(X, D[:, atoms])
    return atoms, estimate


def fitted(X: np.ndarray, D_I: np.ndarray) -> np.ndarray:
    return X @ D_I @ np.linalg.pinv(D_I.T @ D_I) @ D_I.T


@rules
@pytest.mark.parametrize(("error", "max_atoms"), [(0.0, 7), (6.0, 16), (3.0, 5)])
def test_omp_chooses_the_textbooks_atoms_in_its_order_and_fits_them_as_well(rule, error, max_atoms):
    Y, D = problem(60, 16, 40)
    Y[::3] /= 3  # so that some signals need few atoms, or none
    codes = omp(Y, D, error=error, max_atoms=max_atoms, rule=rule)
    for y, atoms, count, estimate in zip(Y, codes.atoms, codes.counts, codes.estimates(D), strict=True):
        expected, expected_estimate = textbook(y[None], D, error, max_atoms, rule)
        assert list(atoms[:count]) == expected
        assert (atoms[count:] == -1).all()
        np.testing.assert_allclose(estimate, expected_estimate[0], atol=1e-9)


@rules
def test_atoms_of_any_norm_are_chosen_as_if_they_had_norm_1(rule):
    Y, D = problem(30, 16, 40)
    scale = np.random.default_rng(1).uniform(0.1, 10, 40)
    plain, scaled = omp(Y, D, max_atoms=6, rule=rule), omp(Y, D * scale, max_atoms=6, rule=rule)
    assert np.array_equal(plain.atoms, scaled.atoms)
    np.testing.assert_allclose(plain.values, scaled.values * scale[scaled.atoms], atol=1e-9)


@rules
@pytest.mark.parametrize("sizes", [[1, 2, 5, 0, 3], [40, 1, 17]], ids=str)
def test_simultaneous_omp_is_the_textbooks_for_groups_smaller_and_larger_than_a_signal_is_long(rule, sizes):
    Y, D = problem(sum(sizes), 16, 40)
    starts = np.cumsum([0, *sizes])
    error = 6.0 * np.array(sizes)
    estimates, counts = simultaneous_omp(Y, starts, D, error=error, rule=rule)
    for a, b, target, count in zip(starts, starts[1:], error, counts, strict=False):
        atoms, expected = textbook(Y[a:b], D, target, 16, rule)
        assert count == len(atoms)
        np.testing.assert_allclose(estimates[a:b], expected, atol=1e-9)


@rules
def test_a_group_of_one_is_coded_as_a_signal_alone(rule):
    Y, D = problem(50, 16, 40)
    estimates, counts = simultaneous_omp(Y, np.arange(51), D, error=np.full(50, 4.0), rule=rule)
    codes = omp(Y, D, error=4.0, rule=rule)
    assert np.array_equal(counts, codes.counts)
    np.testing.assert_allclose(estimates, codes.estimates(D), atol=1e-9)


def test_every_signal_is_as_near_as_was_asked_with_no_atom_too_many():
    Y, D = problem(500, 16, 40)
    error = np.random.default_rng(1).uniform(0, 20, 500)
    codes = omp(Y, D, error=error)
    left = ((Y - codes.estimates(D)) ** 2).sum(1)
    assert (left <= error + 1e-9).all()
    assert (codes.counts[(Y**2).sum(1) <= error] == 0).all()
    for n in range(1, codes.counts.max() + 1):  # one atom less is not enough
        one_less = omp(Y, D, error=error, max_atoms=n)
        shorter = codes.counts > n
        assert (((Y - one_less.estimates(D)) ** 2).sum(1)[shorter] > error[shorter]).all()


def test_single_precision_agrees_with_double_on_signals_that_are_sparse():
    rng = np.random.default_rng(0)
    _, D = problem(0, 32, 64)
    A = rng.normal(size=(200, 64)) * (rng.random((200, 64)) < 0.04)
    Y = A @ D.T
    double, single = omp(Y, D, error=1e-3), omp(Y.astype(np.float32), D, error=1e-3)
    assert single.values.dtype == np.float32
    assert np.array_equal(double.atoms, single.atoms)
    np.testing.assert_allclose(single.values, double.values, atol=1e-4)


def test_the_number_of_threads_does_not_change_a_bit(monkeypatch):
    Y, D = problem(3000, 16, 40)
    answers = []
    for n in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", n)
        estimates, _ = simultaneous_omp(Y, np.arange(0, 3001, 3), D, error=np.full(1000, 10.0))
        answers.append((omp(Y, D, error=3.0).values, estimates))
    for one, three in zip(*answers, strict=True):
        assert np.array_equal(one, three)


def test_two_equal_atoms_and_a_zero_signal_do_no_harm():
    Y, D = problem(20, 8, 12)
    D[:, 5] = D[:, 4]
    Y[0] = 0
    codes = omp(Y, D)
    assert codes.counts[0] == 0
    assert not ((codes.atoms == 4).any(1) & (codes.atoms == 5).any(1)).any()
    np.testing.assert_allclose(codes.estimates(D), Y, atol=1e-8)


def nearly_parallel(left: float) -> np.ndarray:
    """Two atoms of norm 1, the columns; the share `left` of each one's squared norm lies outside the other's span."""
    return np.array([[1.0, (1 - left) ** 0.5], [0.0, left**0.5]])


@rules
@pytest.mark.parametrize(("left", "n_atoms"), [(2e-6, 2), (5e-7, 1)])
def test_an_atom_of_which_a_millionth_is_left_outside_the_span_is_rounding_and_not_chosen(rule, left, n_atoms):
    y, D = np.array([[1.0, 0.5]]), nearly_parallel(left)
    codes = omp(y, D, rule=rule)
    assert codes.counts.tolist() == [n_atoms]
    assert np.allclose(codes.estimates(D), y) == (n_atoms == 2)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"Y": np.zeros((3, 5))}, r"shape \(3, 5\) and a dictionary of \(8, 12\)"),
        ({"rule": "best"}, "rule is 'best'; expected one of correlation, decrease"),
        ({"max_atoms": 0}, "max_atoms is 0; expected at least 1"),
    ],
)
def test_wrong_arguments_are_named(change, says):
    Y, D = problem(3, 8, 12)
    with pytest.raises(ValueError, match=says):
        omp(**{"Y": Y, "D": D, **change})


def test_integers_are_refused():
    with pytest.raises(TypeError, match="signals are int64; expected float32 or float64"):
        omp(np.ones((2, 3), int), np.eye(3))
