"""Small products of matrices inside compiled kernels, at the speed of a large one.

A library's product costs microseconds to call, and copies what it is given into an order of its own. Where a matrix
of a few rows meets one that lies in the caches already, that costs more than the product.
"""

from __future__ import annotations

from typing import Any

from bench.methods.sparse.compiled import inlined
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "LANES",
    "LINE",
    "VECTORS",
    "add_product",
    "bits_of_float",
    "float_of_bits",
    "layer",
    "prefetch",
    "product",
    "spaced",
    "whole",
]

_WIDE = bool(binding.get_host_cpu_features().get("avx512f"))

LANES = 16 if _WIDE else 8
"""Numbers in a vector of the processor; the sums of a product stay in 4 * VECTORS of them."""

VECTORS = 4 if _WIDE else 2

LINE = 16
"""float32 that are brought from one cache into another together."""

FLOAT, WORD = ir.FloatType(), ir.IntType(32)
VECTOR = ir.VectorType(FLOAT, LANES)
ADDRESS, COUNT = types.uintp, types.intp


def whole(n: int) -> int:
    """n numbers and as many more as make whole vectors."""
    return -(-n // LANES) * LANES


def spaced(n: int) -> int:
    """How long rows of n numbers are to be that meet in `add_product`: whole vectors and one more.

    Were rows a power of two apart, those that meet would be in each other's place in the first cache.
    """
    return whole(n) + LANES


def product(vectors: int, *, rows: int = 4, add: bool) -> Any:
    """A function for kernels: C = A B, or C += A B, for so many rows of A and `vectors` * LANES columns of B.

    Its arguments are (C, ldc, A, lda, B, ldb, n): the addresses of the first numbers, how many numbers lie from one
    row to the next, and the number n of columns of A and rows of B. Rows are contiguous,
    float32, and need no alignment.
    """

    @intrinsic
    def of_rows(typing: Any, C: Any, ldc: Any, A: Any, lda: Any, B: Any, ldb: Any, n: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            C, ldc, *factors = arguments
            block = _Block(builder, rows, vectors)
            sums = block.load(C, ldc) if add else block.all(_vector(0.0))
            block.store(block.added(sums, *factors), C, ldc)
            return context.get_dummy_value()

        return types.void(ADDRESS, COUNT, ADDRESS, COUNT, ADDRESS, COUNT, COUNT), generate

    return of_rows


def _strided_product(vectors: int, *, rows: int) -> Any:
    """A function for kernels: C += A B, with arguments (C, ldc, A, lda, step, B, ldb, n).

    The columns of A lie `step` numbers apart, so that A may be given by its transpose.
    """

    @intrinsic
    def of_rows(typing: Any, C: Any, ldc: Any, A: Any, lda: Any, step: Any, B: Any, ldb: Any, n: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            C, ldc, A, lda, step, B, ldb, n = arguments
            block = _Block(builder, rows, vectors)
            block.store(block.added(block.load(C, ldc), A, lda, B, ldb, n, step), C, ldc)
            return context.get_dummy_value()

        return types.void(ADDRESS, COUNT, ADDRESS, COUNT, COUNT, ADDRESS, COUNT, COUNT), generate

    return of_rows


def layer(vectors: int, *, rows: int) -> Any:
    """A function for kernels likewise: C = max(D + A B, least), with arguments (C, ldc, D, ldd, least, A, ...)."""

    @intrinsic
    def of_rows(
        typing: Any, C: Any, ldc: Any, D: Any, ldd: Any, least: Any, A: Any, lda: Any, B: Any, ldb: Any, n: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            C, ldc, D, ldd, least, *factors = arguments
            block = _Block(builder, rows, vectors)
            sums = block.added(block.load(D, ldd), *factors)
            block.store(block.at_least(_repeated(builder, least), sums), C, ldc)
            return context.get_dummy_value()

        return types.void(
            ADDRESS, COUNT, ADDRESS, COUNT, types.float32, ADDRESS, COUNT, ADDRESS, COUNT, COUNT
        ), generate

    return of_rows


class _Block:
    """rows x vectors of numbers, each vector in a register: a list of them, row by row."""

    def __init__(self, builder: Any, rows: int, vectors: int) -> None:
        self.builder, self.rows, self.vectors = builder, rows, vectors
        self.places = [(row, vector) for row in range(rows) for vector in range(vectors)]

    def all(self, value: Any) -> list[Any]:
        return [value for _ in self.places]

    def load(self, at: Any, ld: Any) -> list[Any]:
        return [self._load(self._address(at, row, ld, vector * LANES), VECTOR) for row, vector in self.places]

    def store(self, values: list[Any], at: Any, ld: Any) -> None:
        for (row, vector), value in zip(self.places, values, strict=True):
            address = self._address(at, row, ld, vector * LANES)
            self.builder.store(value, self.builder.inttoptr(address, VECTOR.as_pointer()), align=4)

    def at_least(self, least: Any, values: list[Any]) -> list[Any]:
        builder = self.builder
        return [builder.select(builder.fcmp_unordered(">", value, least), value, least) for value in values]

    def added(self, values: list[Any], A: Any, lda: Any, B: Any, ldb: Any, n: Any, step: Any = None) -> list[Any]:
        """values + A B"""
        builder = self.builder
        sums = [cgutils.alloca_once_value(builder, value) for value in values]
        with cgutils.for_range(builder, n) as loop:
            k = loop.index
            column = k if step is None else builder.mul(k, step)
            b = [self._load(self._address(B, k, ldb, v * LANES), VECTOR) for v in range(self.vectors)]
            for row in range(self.rows):
                a = _repeated(builder, self._load(self._address(A, row, lda, column), FLOAT))
                for v in range(self.vectors):
                    at = sums[row * self.vectors + v]
                    product = builder.fmul(a, b[v], flags=("contract",))
                    builder.store(builder.fadd(builder.load(at), product, flags=("contract",)), at)
        return [builder.load(at) for at in sums]

    def _address(self, base: Any, row: Any, ld: Any, column: Any) -> Any:
        builder = self.builder
        row, column = (ir.Constant(base.type, x) if isinstance(x, int) else x for x in (row, column))
        return builder.add(base, builder.mul(builder.add(builder.mul(ld, row), column), ir.Constant(base.type, 4)))

    def _load(self, address: Any, type_: Any) -> Any:
        return self.builder.load(self.builder.inttoptr(address, type_.as_pointer()), align=4)


def _vector(value: float) -> Any:
    return ir.Constant(VECTOR, [value] * LANES)


def _repeated(builder: Any, number: Any) -> Any:
    undefined = ir.Constant(VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(WORD, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(WORD, LANES), [0] * LANES))


ROWS = 6  # of a product at once, VECTORS vectors each: most of the processor's registers
DEEP = 112  # rows of a factor that meet all rows of the other while they are in the first cache

_rows_by_vectors, _row_by_vectors = (_strided_product(VECTORS, rows=rows) for rows in (ROWS, 1))
_rows_by_one, _row_by_one = (_strided_product(1, rows=rows) for rows in (ROWS, 1))


@inlined
def add_product(C, A, B, n):
    """C += A[:, :n] B[:n], for C (., whole vectors), B as wide at least, and any strides of A."""
    n_rows, width = C.shape
    lda, step, ldb, ldc = A.strides[0] // 4, A.strides[1] // 4, B.strides[0] // 4, C.strides[0] // 4
    for k in range(0, n, DEEP):
        depth = min(DEEP, n - k)
        from_a, from_b = A.ctypes.data + 4 * k * step, B.ctypes.data + 4 * k * ldb
        c = 0
        while c < width:
            wide = c + VECTORS * LANES <= width
            a, b, to = from_a, from_b + 4 * c, C.ctypes.data + 4 * c
            for _ in range(n_rows // ROWS):
                if wide:
                    _rows_by_vectors(to, ldc, a, lda, step, b, ldb, depth)
                else:
                    _rows_by_one(to, ldc, a, lda, step, b, ldb, depth)
                a, to = a + 4 * ROWS * lda, to + 4 * ROWS * ldc
            for _ in range(n_rows % ROWS):
                if wide:
                    _row_by_vectors(to, ldc, a, lda, step, b, ldb, depth)
                else:
                    _row_by_one(to, ldc, a, lda, step, b, ldb, depth)
                a, to = a + 4 * lda, to + 4 * ldc
            c += VECTORS * LANES if wide else LANES


@intrinsic
def float_of_bits(typing: Any, bits: Any) -> Any:
    """The float32 that has the bits of an int32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], FLOAT)

    return types.float32(types.int32), generate


@intrinsic
def bits_of_float(typing: Any, x: Any) -> Any:
    """The int32 that has the bits of a float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], WORD)

    return types.int32(types.float32), generate


@intrinsic
def prefetch(typing: Any, at: Any) -> Any:
    """Have the 64 bytes around an address brought into the first cache, while other work goes on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        of = ir.FunctionType(ir.VoidType(), [byte, WORD, WORD, WORD])
        load, near, data = (ir.Constant(WORD, x) for x in (0, 3, 1))
        fetch = cgutils.get_or_insert_function(builder.module, of, "llvm.prefetch.p0i8")
        builder.call(fetch, [builder.inttoptr(arguments[0], byte), load, near, data])
        return context.get_dummy_value()

    return types.void(ADDRESS), generate
