"""Small products of matrices inside compiled kernels, at the speed of a large one.

A library's product costs microseconds to call, and copies what it is given into an order of its own. Where a matrix
of a few rows meets one that lies in the caches already, that costs more than the product.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["LANES", "VECTORS", "float_of_bits", "product"]

_WIDE = bool(binding.get_host_cpu_features().get("avx512f"))

LANES = 16 if _WIDE else 8
"""Numbers in a vector of the processor; the sums of a product stay in 4 * VECTORS of them."""

VECTORS = 4 if _WIDE else 2

FLOAT, WORD = ir.FloatType(), ir.IntType(32)
VECTOR = ir.VectorType(FLOAT, LANES)


def product(vectors: int, *, add: bool) -> Any:
    """A function for kernels: C = A B, or C += A B, for four rows of A and `vectors` * LANES columns of B.

    Its arguments are (C, ldc, A, lda, B, ldb, n): the addresses of the first numbers, how many numbers lie from one
    row to the next, and the number n of columns of A and rows of B. Rows are contiguous,
    float32, and need no alignment.
    """

    @intrinsic
    def of_four_rows(typing: Any, C: Any, ldc: Any, A: Any, lda: Any, B: Any, ldb: Any, n: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            C, ldc, A, lda, B, ldb, n = arguments

            def constant(value: int) -> Any:
                return ir.Constant(C.type, value)

            def place(base: Any, row: Any, ld: Any, column: Any) -> Any:
                numbers = builder.add(builder.mul(ld, row), column)
                return builder.add(base, builder.mul(numbers, constant(4)))

            def load(address: Any, type_: Any) -> Any:
                return builder.load(builder.inttoptr(address, type_.as_pointer()), align=4)

            places = [place(C, constant(row), ldc, constant(v * LANES)) for row in range(4) for v in range(vectors)]
            zero = ir.Constant(VECTOR, [0.0] * LANES)
            sums = [cgutils.alloca_once_value(builder, load(at, VECTOR) if add else zero) for at in places]
            first = ir.Constant(ir.VectorType(WORD, LANES), [0] * LANES)
            undefined = ir.Constant(VECTOR, ir.Undefined)
            with cgutils.for_range(builder, n) as loop:
                k = loop.index
                b = [load(place(B, k, ldb, constant(v * LANES)), VECTOR) for v in range(vectors)]
                for row in range(4):
                    number = load(place(A, constant(row), lda, k), FLOAT)
                    a = builder.insert_element(undefined, number, ir.Constant(WORD, 0))
                    a = builder.shuffle_vector(a, undefined, first)
                    for v in range(vectors):
                        at = sums[row * vectors + v]
                        product = builder.fmul(a, b[v], flags=("contract",))
                        builder.store(builder.fadd(builder.load(at), product, flags=("contract",)), at)
            for address, at in zip(places, sums, strict=True):
                builder.store(builder.load(at), builder.inttoptr(address, VECTOR.as_pointer()), align=4)
            return context.get_dummy_value()

        at, count = types.uintp, types.intp
        return types.void(at, count, at, count, at, count, count), generate

    return of_four_rows


@intrinsic
def float_of_bits(typing: Any, bits: Any) -> Any:
    """The float32 that has the bits of an int32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], FLOAT)

    return types.float32(types.int32), generate
