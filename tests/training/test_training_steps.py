"""What tests/asv/training_steps.py says a training step costs, against torch's count of the step itself."""

import pytest

torch = pytest.importorskip("torch")

from bench.methods.networks import sparse_coding  # noqa: E402
from bench.methods.networks.nsr import SparseConv2d  # noqa: E402
from bench.methods.networks.on_gpu import dense_similarity, steps_on_gpu  # noqa: E402
from bench.methods.networks.similarity import Similarity, tiles  # noqa: E402
from bench.methods.networks.sparse_coding import SparseCoding  # noqa: E402
from bench.methods.nlrn import NonLocalRecurrent  # noqa: E402
from bench.methods.nsr import SparseResidual  # noqa: E402

from bench.measure.complexity import count_macs  # noqa: E402
from tests.asv.training_steps import work  # noqa: E402

CROPS, SIDE = 2, 18
NETWORKS = {
    "sc": lambda: SparseCoding(),
    "groupsc": lambda: SparseCoding(window=6),
    "groupsc, colour": lambda: SparseCoding(3, window=6, freq=8),
    "nlrn": lambda: NonLocalRecurrent(),
    "nlrn, Table 2": lambda: NonLocalRecurrent(n_steps=3, every=2, metric="gaussian"),
    "nsr": lambda: SparseResidual(),
    "nsr, x2": lambda: SparseResidual(scale=2, n_blocks=4, width=1, groups=4),
}


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """SC, GroupSC and NSR make on the processor the products that they make on a GPU."""

    def steps(alpha, y, C, D, lmbda, M, Sigma, dtype):
        S, mass = (None, None) if Sigma is None else (*Sigma.Sigma, Sigma.mass)
        return steps_on_gpu(alpha, y, C, D, lmbda, M, S, mass, dtype, training=True)

    def similarity(self, u, dtype):
        (tile,) = tiles(*u.shape[1:3], self.window, max(u.shape))
        S, mass = dense_similarity(u, tile.penalty(self.window, u), dtype)
        return Similarity([tile], [S], mass)

    monkeypatch.setattr(sparse_coding, "steps", steps)
    monkeypatch.setattr(SparseCoding, "similarity", similarity)
    monkeypatch.setattr(SparseConv2d, "by_mixed_kernels", SparseConv2d.by_mixed_answers)


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("name", NETWORKS)
def test_the_products_of_a_step_are_as_many_as_torch_counts(name):
    net = NETWORKS[name]().train()
    channels, side = getattr(net, "channels", 1), SIDE // getattr(net, "scale", 1)
    y = torch.rand(CROPS, channels, side, side)

    def forward():
        with torch.autocast("cpu", torch.bfloat16):
            return net(y)

    def step():
        with torch.enable_grad():
            forward().float().square().sum().backward()

    said = work(net, CROPS, SIDE)
    assert said.forward == pytest.approx(count_macs(forward), rel=0.005)
    assert said.forward + said.backward == pytest.approx(count_macs(step), rel=0.005)
