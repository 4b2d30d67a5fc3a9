"""SOAP: Adam where there is nothing to turn; the same way however a problem is turned."""

import pytest

torch = pytest.importorskip("torch")

from bench.training import soap  # noqa: E402
from bench.training.soap import SOAP  # noqa: E402

ADAM = {"lr": 0.02, "betas": (0.95, 0.95)}


def minimised(optimiser, loss, *start, steps=60):
    """The parameters on the way, by an optimiser made of them."""
    parameters = [x.clone().requires_grad_() for x in start]
    optimiser, way = optimiser(parameters), []
    for n in range(1, steps + 1):
        optimiser.zero_grad()
        loss(*parameters).backward()
        optimiser.step()
        if isinstance(optimiser, SOAP):
            optimiser.turn(n)
        way.append([x.detach().clone() for x in parameters])
    return way


def rotation(n, seed):
    return torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(seed)).double())[0]


def seeded(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def test_of_vectors_it_is_adam_after_a_first_step_that_changes_nothing():
    start, target = seeded(7), seeded(7, seed=1)

    def loss(x):
        return (x - target).square().sum()

    ours = minimised(lambda p: SOAP(p, **ADAM), loss, start)
    adam = minimised(lambda p: torch.optim.Adam(p, **ADAM), loss, start)
    assert torch.equal(ours[0][0], start)
    torch.testing.assert_close(ours[1:], adam[:-1])


def test_of_a_tensor_whose_axes_are_too_long_it_is_adam_too(monkeypatch):
    monkeypatch.setattr(soap, "LARGEST", 2)
    start, target = seeded(3, 2, 2), seeded(3, 2, 2, seed=1)

    def loss(x):
        return (x - target).square().sum()

    ours = minimised(lambda p: SOAP(p, **ADAM), loss, start)
    adam = minimised(lambda p: torch.optim.Adam(p, **ADAM), loss, start)
    torch.testing.assert_close(ours[1:], adam[:-1])


def test_the_way_turns_with_the_problem():
    """What sets it apart from Adam: the basis in which the weights are written does not matter."""
    start, target, A, B = (seeded(5, 5, seed=seed) for seed in range(4))
    left, right = rotation(5, 4), rotation(5, 5)

    def loss(X):
        return (A @ (X - target) @ B).square().sum()

    ways = {
        name: (
            minimised(optimiser, loss, start),
            minimised(optimiser, lambda X: loss(left.T @ X @ right), left @ start @ right.T),
        )
        for name, optimiser in (("soap", lambda p: SOAP(p, **ADAM)), ("adam", lambda p: torch.optim.Adam(p, **ADAM)))
    }
    apart = {
        name: float((left.T @ turned[-1][0] @ right - way[-1][0]).abs().max()) for name, (way, turned) in ways.items()
    }
    assert apart["soap"] < 1e-4 < 1e-2 < apart["adam"], apart
