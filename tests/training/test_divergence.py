"""A training whose loss, weights or answers are no numbers any more is ended, and says what is kept."""

import json
import math

import numpy as np
import pytest

from bench.errors import TrainingError
from bench.training.session import train
from tests.conftest import PLUGINS

torch = pytest.importorskip("torch")

from bench.training import checkpoint as checkpoints  # noqa: E402
from bench.training.crops import Crops  # noqa: E402
from bench.training.divergence import are_finite, why_not_on  # noqa: E402
from bench.training.loop import Training  # noqa: E402

NET = f"{PLUGINS}/net.py:Affine"


def run(folder, **options):
    return train(NET, {"sigma": "25"}, folder=folder, **options)


def without_numbers(monkeypatch, is_such):
    """Crops of infinities, at the steps for which is_such(step)."""
    original = Crops.batch

    def batch(self, step):
        made = original(self, step)
        return made._replace(y=made.y * np.inf) if is_such(step) else made

    monkeypatch.setattr(Crops, "batch", batch)


def test_it_ends_at_the_validation_after_most_steps_had_no_finite_gradient(tmp_path, monkeypatch):
    without_numbers(monkeypatch, lambda step: step >= 6)
    with pytest.raises(TrainingError) as error:
        run(tmp_path)
    said = str(error.value)
    assert "before step 15: the loss or its gradient was no finite number in 9 of 15 steps" in said
    assert ", since step 10 first in step 11. The" in said
    assert "The learning rate was 0.00146. Kept: " in said
    assert "weights.safetensors, of step 10, " in said
    assert f"{tmp_path / 'checkpoint.pt'}, of step 10. Try" in said
    assert "Try a smaller lr than 0.01 or another clip than 1 in the recipe, in another --folder" in said
    assert checkpoints.read(tmp_path, 1e9)["step"] == 10
    assert json.loads((tmp_path / "weights.json").read_text())["step"] == 10
    with pytest.raises(TrainingError) as again:
        run(tmp_path)
    assert str(again.value) == said


def test_a_training_of_nothing_but_overflows_keeps_no_untrained_weights_without_a_word(tmp_path, monkeypatch):
    without_numbers(monkeypatch, lambda step: True)
    with pytest.raises(
        TrainingError,
        match=r"in 3 of 3 steps, since step 0 first in step 1\. .* Kept: .*of step 0, [0-9.]+ dB, untrained;",
    ):
        run(tmp_path, steps=3)


def test_the_loss_that_is_told_is_of_the_steps_that_were_made(tmp_path, monkeypatch, capsys):
    without_numbers(monkeypatch, lambda step: step == 3)
    run(tmp_path, steps=10)
    assert "nan" not in capsys.readouterr().err
    assert checkpoints.read(tmp_path, 1e9)["left_out"] == 1


@pytest.mark.parametrize("figure", [math.nan, math.inf, -math.inf])
def test_it_ends_when_the_validation_is_no_number(tmp_path, monkeypatch, figure):
    figures = iter([20.0, 21.0, figure])
    monkeypatch.setattr(Training, "_psnr_db", lambda self: next(figures))
    with pytest.raises(
        TrainingError, match=f"before step 10: the validation PSNR is {figure} dB.* Kept: .*of step 5,"
    ):
        run(tmp_path)


def test_weights_to_start_from_that_are_no_numbers_begin_nothing(tmp_path):
    torch.save({"weight": torch.full((1, 1, 3, 3), math.nan)}, tmp_path / "nan.pth")
    with pytest.raises(TrainingError, match="before the first step weights are no finite numbers any more"):
        run(tmp_path / "t", start=tmp_path / "nan.pth")
    assert not (tmp_path / "t" / "weights.safetensors").exists()


def test_that_nothing_was_better_than_the_beginning_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Training, "_psnr_db", lambda self: 20.0 - self.step)
    run(tmp_path, steps=5)
    assert "No weights were better than those that it began with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("left_out", "of_all", "goes_on"),
    [((0, 5), (0, 5), True), ((1, 1), (1, 9), True), ((1, 1), (9, 9), False), ((11, 20), (11, 900), False)],
)
def test_a_few_steps_may_be_left_out(left_out, of_all, goes_on):
    assert (why_not_on([torch.nn.Linear(1, 1)], 20.0, left_out, of_all) == "") is goes_on


def test_weights_and_what_batch_normalisation_has_seen_must_be_finite():
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1))
    assert are_finite([net])
    net[1].running_var.fill_(math.inf)
    assert not are_finite([net])
    assert are_finite([torch.nn.ReLU()])


def test_going_back_twice_gives_the_accepted_state_twice(tmp_path, monkeypatch):
    figures = iter([20.0, 50.0, 5.0, 5.0, 50.5])
    monkeypatch.setattr(Training, "_psnr_db", lambda self: next(figures))
    states = []
    original = Training._backtrack

    def spy(self, psnr_db):
        original(self, psnr_db)
        states.append({p: s["exp_avg"].clone() for p, s in self._state()["optimizer"].items()})

    monkeypatch.setattr(Training, "_backtrack", spy)
    run(tmp_path)
    accepted, first, second = states[1:4]
    for p, moment in accepted.items():
        assert torch.equal(first[p], moment)
        assert torch.equal(second[p], moment)
