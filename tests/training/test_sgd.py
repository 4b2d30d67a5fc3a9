"""SGD with momentum steps as torch's does, and leaves out a step that is not to be made."""

import pytest

torch = pytest.importorskip("torch")

from bench.training.sgd import SGD  # noqa: E402


def parameters():
    random = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=random)) for shape in ((3,), (2, 4))]


def gradients(step):
    random = torch.Generator().manual_seed(1 + step)
    return [torch.randn(shape, generator=random) for shape in ((3,), (2, 4))]


def after(optimizer, ps, steps):
    for step in steps:
        for group in optimizer.param_groups:
            group["lr"] *= 0.9
        for p, g in zip(ps, gradients(step), strict=True):
            p.grad = g
        optimizer.step()
    return ps


@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.9, 0.01), (0.0, 0.01), (0.9, 0.0)])
@pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1)], ids=["number", "tensor"])
def test_its_steps_are_torchs(lr, momentum, weight_decay):
    own, theirs = parameters(), parameters()
    after(SGD(own, lr if isinstance(lr, float) else lr.clone(), momentum, weight_decay), own, range(5))
    after(torch.optim.SGD(theirs, 0.1, momentum=momentum, weight_decay=weight_decay), theirs, range(5))
    for p, expected in zip(own, theirs, strict=True):
        assert torch.allclose(p, expected, atol=1e-6)


def test_a_step_whose_gradient_is_not_finite_moves_nothing():
    own, without = parameters(), parameters()
    optimizer = SGD(own, torch.tensor(0.1), 0.9)
    for step in range(4):
        optimizer.found_inf = torch.tensor(float(step == 2))
        for p, g in zip(own, gradients(step), strict=True):
            p.grad = g * (float("inf") if step == 2 else 1)
        optimizer.step()
    optimizer = SGD(without, torch.tensor(0.1), 0.9)
    for step in (0, 1, 3):
        for p, g in zip(without, gradients(step), strict=True):
            p.grad = g
        optimizer.step()
    for p, expected in zip(own, without, strict=True):
        assert torch.equal(p, expected)


def test_a_parameter_without_a_gradient_stays():
    still, moved = parameters()
    before = still.detach().clone()
    moved.grad = torch.ones_like(moved)
    SGD([still, moved], 0.1, 0.9, 0.5).step()
    assert torch.equal(still, before)
