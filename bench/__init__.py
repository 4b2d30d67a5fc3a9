"""bench: the benchmark suite for image restorers, classical and learned.

    import bench

    result = bench.run(methods="bm3d,dncnn", task="denoise", datasets="set12", sigma=[15, 25, 50])
    print(result.table())
    result.frame()

All that the shell's `bench` does is a function here.
"""

from __future__ import annotations

from bench.api import *  # noqa: F403  what there is, bench.api says
from bench.api import __all__ as __all__


def __getattr__(name: str) -> str:
    """`bench.__version__`, looked up when it is asked for: that takes longer than a listing may."""
    if name != "__version__":
        raise AttributeError(f"module 'bench' has no attribute '{name}'")
    from importlib.metadata import version

    return version("bench")
