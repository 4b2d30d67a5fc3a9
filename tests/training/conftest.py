"""What the tests of trainings share: a network that is trained in a moment."""

import sys
from pathlib import Path

import pytest

from bench.training.session import train
from tests.conftest import PLUGINS


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small lose by more, and the machine has others to serve."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="session")
def half_trained(tmp_path_factory) -> Path:
    """The folder of a training of 10 steps, of which 5 were made: its checkpoint and what is written from it."""
    pytest.importorskip("torch")
    from bench.training.crops import Crops

    folder, original = tmp_path_factory.mktemp("half") / "t", Crops.batch

    def batch(self, step):
        if step > 6:
            raise InterruptedError
        return original(self, step)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Crops, "batch", batch)
        with pytest.raises(InterruptedError):
            train(f"{PLUGINS}/net.py:Affine", {"sigma": "25"}, folder=folder, steps=10)
    return folder
