"""Products by both libraries: MKL's, and oneDNN's if this torch has the operator."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bench.methods.sparse import multiply  # noqa: E402


@pytest.fixture(params=["MKL", "oneDNN"])
def library(request, monkeypatch):
    if request.param == "oneDNN" and not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this torch has no products of oneDNN's")
    monkeypatch.setattr(multiply, "ONEDNN", request.param == "oneDNN")
    with torch.inference_mode():
        yield


def random(*shape):
    return torch.from_numpy(np.random.default_rng(sum(shape)).standard_normal(shape, np.float32))


def exact(a, b):
    return (a.double() @ b.double()).float()


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (random(5, 3), random(3, 4)),
        (random(1, 1), random(1, 1)),
        (random(70, 96)[:, :81], random(81, 256)),
        (random(81, 70).T, random(256, 81).T),
        (random(9, 40)[::3, ::2], random(60, 33)[::3, ::3]),
    ],
    ids=["whole", "one number", "part of each row", "transposed", "every third row"],
)
def test_a_product_is_that_of_its_factors_however_they_lie_in_memory(library, a, b):
    ab = exact(a, b)
    torch.testing.assert_close(multiply.mm(a, b), ab, atol=1e-4, rtol=1e-5)
    out = torch.full((len(a), 2 * b.shape[1]), torch.nan)[:, ::2]
    assert multiply.mm(a, b, out=out) is out
    torch.testing.assert_close(out, ab, atol=1e-4, rtol=1e-5)


def test_a_product_is_added_to_a_matrix_a_row_or_a_column_and_where_that_lies(library):
    a, b, c = random(6, 20), random(20, 7), random(6, 7)
    for one in (c, c[0], c[:, :1]):
        torch.testing.assert_close(multiply.addmm(one, a, b, alpha=-2), one - 2 * exact(a, b), atol=1e-4, rtol=1e-5)
    want = c - exact(a, b)
    assert multiply.addmm(c, a, b, alpha=-1, out=c) is c
    torch.testing.assert_close(c, want, atol=1e-4, rtol=1e-5)


def test_products_one_by_one_though_their_factors_overlap(library):
    rows = random(30, 8)
    a, b = random(3, 5, 12), rows.as_strided((3, 12, 8), (9 * 8, 8, 1))
    want = torch.stack([exact(a[k], rows[9 * k : 9 * k + 12]) for k in range(3)])
    torch.testing.assert_close(multiply.bmm(a, b), want, atol=1e-4, rtol=1e-5)
    out = torch.empty(3, 5, 8)
    assert multiply.bmm(a, b, out=out) is out
    torch.testing.assert_close(out, want, atol=1e-4, rtol=1e-5)
    c = random(3, 5, 8)
    torch.testing.assert_close(multiply.baddbmm(c, a, b), c + want, atol=1e-4, rtol=1e-5)


def test_gradients_are_those_of_torch(library):
    with torch.inference_mode(False), torch.enable_grad():
        a, b, c, g = (random(3, *shape).clone() for shape in [(5, 12), (12, 8), (5, 8), (5, 8)])
        for factors in ((a, b), (a, b, c)):
            factors = [x.clone().requires_grad_() for x in factors]
            ab = multiply.product(*factors)
            want = torch.bmm(*factors[:2]) + (factors[2] if len(factors) > 2 else 0)
            torch.testing.assert_close(ab, want, atol=1e-4, rtol=1e-5)
            for one, other in zip(
                torch.autograd.grad(ab, factors, g), torch.autograd.grad(want, factors, g), strict=True
            ):
                torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_other_dtypes_keep_theirs(library, dtype):
    a, b = torch.arange(6).view(2, 3).to(dtype), torch.arange(12).view(3, 4).to(dtype)
    ab = multiply.mm(a, b)
    assert ab.dtype == dtype
    assert torch.equal(ab, torch.tensor([[20, 23, 26, 29], [56, 68, 80, 92]], dtype=dtype))


@pytest.mark.parametrize(
    ("processor", "wide", "is_faster"),
    [("znver4", True, True), ("znver3", False, False), ("sapphirerapids", True, False)],
)
def test_onednn_is_taken_where_mkl_leaves_half_of_the_processor_alone(monkeypatch, processor, wide, is_faster):
    if not (hasattr(torch.ops.mkldnn, "_linear_pointwise") and torch.backends.mkl.is_available()):
        pytest.skip("this torch has one library")
    monkeypatch.setattr(multiply.binding, "get_host_cpu_name", lambda: processor)
    monkeypatch.setattr(multiply.binding, "get_host_cpu_features", lambda: {"avx512f": wide})
    assert multiply._onednn_is_faster() is is_faster


def test_onednn_forms_no_product_number_by_number(capfd, monkeypatch):
    """It does so, 2,000 times as slow as its other ways, where both the rows and columns of a factor have gaps."""
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this torch has no products of oneDNN's")
    monkeypatch.setattr(multiply, "ONEDNN", True)
    layouts = [
        lambda rows, columns: random(rows, columns),
        lambda rows, columns: random(columns, rows).T,
        lambda rows, columns: random(rows, columns + 16)[:, :columns],
        lambda rows, columns: random(columns, rows + 16)[:, :rows].T,
        lambda rows, columns: random(rows, 2 * columns)[:, ::2],
        lambda rows, columns: random(1, columns).expand(rows, columns),
    ]
    with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON), torch.inference_mode():
        for of_a, of_b in itertools.product(layouts, layouts):
            a, b = of_a(48, 32), of_b(32, 64)
            torch.testing.assert_close(multiply.mm(a, b), exact(a, b), atol=1e-4, rtol=1e-5)
    ways = [line.split(",") for line in capfd.readouterr().out.splitlines() if "inner_product" in line]
    assert len(ways) >= len(layouts) ** 2
    assert not [way for way in ways if any(part.startswith("ref") for part in way)]
