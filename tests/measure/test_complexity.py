"""Multiply-accumulates against counts done by hand."""

import pytest

from bench.measure.complexity import count_macs

torch = pytest.importorskip("torch")


def test_a_convolution_costs_its_kernel_at_every_pixel():
    x, kernel = torch.zeros(1, 3, 8, 10), torch.zeros(5, 3, 3, 3)
    assert count_macs(lambda: torch.nn.functional.conv2d(x, kernel, padding=1)) == 8 * 10 * 5 * 3 * 9


def test_products_of_every_kind_are_counted():
    a, b = torch.zeros(4, 6), torch.zeros(6, 5)
    batch = torch.zeros(2, 4, 6)
    assert count_macs(lambda: a @ b) == 4 * 6 * 5
    assert count_macs(lambda: torch.einsum("bij,bkj->bik", batch, batch)) == 2 * 4 * 6 * 4
    assert count_macs(lambda: torch.nn.functional.linear(batch, b.T)) == 2 * 4 * 6 * 5


def test_products_by_another_library_are_counted_alike():
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this torch has no such products")
    x, W = torch.zeros(2, 4, 6), torch.zeros(5, 6)
    assert count_macs(lambda: torch.ops.mkldnn._linear_pointwise(x, W, None, "none", [], "")) == 2 * 4 * 6 * 5


def test_what_is_no_product_costs_nothing():
    assert count_macs(lambda: torch.zeros(9).relu().sum()) == 0
