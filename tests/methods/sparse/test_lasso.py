"""The lasso's path: its end is the least l1 norm of all codes as near, by the conditions of optimality."""

from __future__ import annotations

import numpy as np
import pytest
from bench.methods.sparse.lasso import lasso_path

from tests.methods.sparse.test_pursuit import nearly_parallel, problem


def test_the_lasso_path_ends_at_the_least_l1_norm_of_all_codes_as_near():
    Y, D = problem(200, 16, 40)
    error = np.random.default_rng(1).uniform(0.1, 20, 200)
    codes = lasso_path(Y, D, error=error)
    residual = Y - codes.estimates(D)
    coded = codes.counts > 0
    assert np.array_equal(coded, (Y**2).sum(1) > error)
    np.testing.assert_allclose((residual**2).sum(1)[coded], error[coded], rtol=1e-8)
    # optimality: correlations with the residual are lambda times the sign on the support, and nowhere larger
    for r, atoms, values, count in zip(residual, *codes, strict=True):
        if count:
            correlations = D.T @ r
            lam = np.abs(correlations).max()
            np.testing.assert_allclose(
                correlations[atoms[:count]], lam * np.sign(values[:count]), rtol=0, atol=1e-8 * lam
            )
            assert len(set(atoms[:count])) == count


def test_some_paths_drop_atoms_again():
    # the test above would be weaker if none did: the path has more joins than its end has atoms
    Y, D = problem(200, 16, 40)
    supports = [
        [set(atoms[:count]) for atoms, count in zip(codes.atoms, codes.counts, strict=True)]
        for codes in (lasso_path(Y, D, error=error) for error in (8.0, 4.0, 2.0, 1.0))
    ]
    assert any(not earlier <= later for earlier, later in zip(supports[0], supports[-1], strict=True))


def test_the_lasso_path_in_single_precision_agrees_with_double():
    Y, D = problem(200, 16, 40)
    double, single = (lasso_path(X, D, error=5.0) for X in (Y, Y.astype(np.float32)))
    np.testing.assert_allclose(single.estimates(D), double.estimates(D), atol=1e-4)


@pytest.mark.parametrize(("left", "n_atoms"), [(2e-6, 2), (5e-7, 1)])
def test_an_atom_of_which_a_millionth_is_left_outside_the_span_is_rounding_and_does_not_join(left, n_atoms):
    y, D = np.array([[1.0, 0.5]]), nearly_parallel(left)
    codes = lasso_path(y, D, error=0.0)
    assert codes.counts.tolist() == [n_atoms]
    assert np.allclose(codes.estimates(D), y, atol=1e-3) == (n_atoms == 2)


def test_two_equal_atoms_and_a_zero_signal_do_no_harm():
    Y, D = problem(20, 8, 12)
    D[:, 5] = D[:, 4]
    Y[0] = 0
    codes = lasso_path(Y, D, error=1e-6)
    assert codes.counts[0] == 0
    np.testing.assert_allclose(codes.estimates(D), Y, atol=2e-3)
