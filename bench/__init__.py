"""bench: the benchmark suite for image restorers, classical and learned.

    import bench

    result = bench.run(methods="bm3d,dncnn", task="denoise", datasets="set12", sigma=[15, 25, 50])
    print(result.table())
    result.frame()

All that the shell's `bench` does is a function here.
"""

from __future__ import annotations

from bench.api import (
    audit,
    check,
    compare,
    doctor,
    export,
    listing,
    preview,
    read,
    reference,
    run,
    table,
    train,
    write_reference,
)

__all__ = [
    "audit",
    "check",
    "compare",
    "doctor",
    "export",
    "listing",
    "preview",
    "read",
    "reference",
    "run",
    "table",
    "train",
    "write_reference",
]
