"""The training loop: steps on crops, validated on held-out images, checkpointed: it may be killed at any step."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn

from bench.checkpoints import shown
from bench.errors import BenchError, DivergedError, TrainingError
from bench.escape import terminal
from bench.level import Level
from bench.restorer import TorchRestorer
from bench.task import Observation
from bench.tasks import Setting
from bench.training import checkpoint as checkpoints
from bench.training.batches import batches
from bench.training.crops import Crops, seed_of
from bench.training.divergence import why_not_on
from bench.training.files import Validation, export, is_exported, write_log
from bench.training.graph import Graphs
from bench.training.recipe import Recipe
from bench.training.scoring import check_shape, held_out_psnr_db
from bench.training.sgd import SGD
from bench.training.soap import SOAP
from bench.training.start import begin_with
from bench.training.teacher import Teacher

__all__ = ["Training"]

N_CROPS_TO_INITIALISE = 512
AT_MOST_AHEAD = 32  # steps that the host may be ahead of the device
MOST_SAID = 300  # letters of what a network says of its options


class Training:
    """One training in one folder: checkpoint.pt, log.csv, curves.svg, and weights.safetensors, the best so far.

    At its end also last.safetensors: the crops that validate are few, and what they say may be off by 0.01 dB.
    The checkpoint holds all that the others say. It is written first, and they are written anew from it where a kill
    came between.

    seconds  a budget that the schedule is stretched to; None: the recipe's steps, or `steps`
    start    weights to begin with, a file or a restorer's: see begin_with
    parameters   that the restorer was made with
    code_sha256  of the restorer's code: see bench.plugins.identity
    had_ended    whether the folder's checkpoint is of the end of its schedule or budget, which then begins anew
    Goes on from the folder's checkpoint if there is one. Raises TrainingError if that is of another training or
    damaged, or if there are weights without one that this training would replace.
    """

    def __init__(
        self,
        restorer: TorchRestorer,
        recipe: Recipe,
        setting: Setting,
        crops: Crops,
        folder: Path,
        *,
        device: str = "cpu",
        steps: int | None = None,
        seconds: float | None = None,
        start: Path | str | None = None,
        parameters: Mapping[str, Any] | None = None,
        code_sha256: str = "",
    ) -> None:
        self.parameters, self.code_sha256 = dict(parameters or {}), code_sha256
        self.restorer, self.recipe, self.setting, self.crops, self.folder = restorer, recipe, setting, crops, folder
        self.device = torch.device(device)
        self.graphs = Graphs(self.device) if self.device.type == "cuda" else None
        self.budget, self.budget_began, self.had_ended = seconds, 0.0, False
        self.total = steps or recipe.steps
        self.step, self.elapsed, self.lr_factor, self.left_out = 0, 0.0, 1.0, 0
        self.log: list[Validation] = []
        self.best: dict[str, Any] | None = None
        self.last_card: dict[str, Any] | None = None
        self.stretched_at = 0, 0.0  # step and elapsed
        self.accepted: dict[str, Any] | None = None
        self.validation = crops.validation()
        self.teacher = Teacher(recipe.teacher, setting, self.device) if recipe.teacher else None
        self.start_sha256 = self._make_network(start)
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / checkpoints.NAME).exists():
            self._resume()
        else:
            self._check_nothing_is_lost(start)

    @property
    def best_db(self) -> float:
        """The best validation PSNR so far, in dB; -inf before the first."""
        return self.best["psnr_db"] if self.best else -math.inf

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        progress = self.step / self.total
        if self.recipe.schedule == "cosine":
            factor = (1 + math.cos(math.pi * progress)) / 2
        else:
            passed = sum(progress >= at for at in self.recipe.decay_at)
            factor = self.recipe.decay ** (passed or int(progress / self.recipe.decay_every))
        rising = min(1.0, (self.step + 1) / self.recipe.warm_up) if self.recipe.warm_up else 1.0
        return self.recipe.lr * self.lr_factor * factor * rising

    # --- setting up ---

    def _make_network(self, start: Path | str | None) -> str | None:
        """The sha256 of the weights that it begins with."""
        torch.manual_seed(self.recipe.seed)
        self.restorer.options = self.recipe.network_options
        with self._options_are_to_blame():
            network = self.restorer.network(self.setting)
            if start is None:
                clean = torch.from_numpy(self.crops.clean(N_CROPS_TO_INITIALISE)).permute(0, 3, 1, 2)
                self.restorer.initialise(network, clean)
        begun = None if start is None else begin_with(network, start, self.setting, self.restorer.of_level)
        self.network = network.to(self.device)
        self.optimizer = self._optimizer(self.network)
        self.mean = copy.deepcopy(self.network) if self.recipe.ema else self.network
        return begun

    @contextmanager
    def _options_are_to_blame(self) -> Iterator[None]:
        """If a recipe gives a network options, what it raises before it was ever trained is told as their fault."""
        try:
            yield
        except Exception as error:
            if isinstance(error, BenchError) or not self.recipe.options:
                raise
            given = ", ".join(f"{name} = {value!r}" for name, value in self.recipe.network_options.items())
            raise TrainingError(
                f"recipe '{self.recipe.name}': {self.restorer.name} does not work with options {shown(given)}:"
                f" {type(error).__name__}: {terminal(str(error).rstrip('.'), MOST_SAID)}."
            ) from None

    def _optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        parameters, eps = list(network.parameters()), self.recipe.eps
        on_gpu = bool(parameters) and parameters[0].device.type == "cuda"
        # a graph reads what changes from step to step out of the device's memory
        lr = torch.tensor(self.recipe.lr, device=self.device) if on_gpu else self.recipe.lr
        if self.recipe.optimizer == "soap":
            return SOAP(parameters, lr, eps, every=self.recipe.turn_every)
        if self.recipe.optimizer == "sgd":
            return SGD(parameters, lr, self.recipe.momentum, self.recipe.weight_decay)
        return torch.optim.Adam(parameters, lr, eps=eps, fused=on_gpu, capturable=on_gpu)

    def _identity(self) -> dict[str, Any]:
        """What must not change between the sessions of one training."""
        return {
            "restorer": ":".join(filter(None, (self.restorer.name, self.restorer.variant))),
            "parameters": self.parameters,
            "code": self.code_sha256,
            "setting": str(self.setting),
            "recipe": self.recipe.as_dict(),
            "data_sha256": self.crops.data_sha256,
        }

    # --- state ---

    def _state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "mean": self.mean.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
        }

    def _state_after_a_step(self) -> dict[str, Any]:
        """Names and shapes of a state of this training. A step of the optimizer makes its own, here of no numbers."""
        twin = copy.deepcopy(self.network).to("meta")
        optimizer = self._optimizer(twin)
        for p in twin.parameters():
            p.grad = torch.zeros_like(p)
        optimizer.step()
        return {**self._state(), "optimizer": optimizer.state_dict()["state"]}

    def _load_state(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.mean.load_state_dict(state["mean"])
        own = [{**group} for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": copy.deepcopy(state["optimizer"])})
        for group, as_it_was in zip(self.optimizer.param_groups, own, strict=True):
            group.update(as_it_was)  # its rate is this session's tensor, on this session's device
        if self.graphs:
            self.graphs.forget()

    def _resume(self) -> None:
        """Go on from the folder's checkpoint."""
        like = self._state_after_a_step()
        checkpoint = checkpoints.read(self.folder, most_bytes=3 * _bytes_in(like))
        own, other = self._identity(), checkpoint["identity"]
        if other != own:
            different = [key for key in {**own, **other} if key not in own or other.get(key) != own[key]]
            weights = self.folder / "weights.safetensors"
            raise TrainingError(
                f"{self.folder} holds another training (other {', '.join(different)}). Name another --folder;"
                f" to go on from the weights that it has, add --start {weights}."
            )
        self._check_states(checkpoint, like)
        self._load_state(checkpoint["state"])
        self.step, self.elapsed, self.left_out = checkpoint["step"], checkpoint["elapsed"], checkpoint["left_out"]
        self.had_ended, self.budget_began = self.step >= checkpoint["total"], checkpoint["budget_began"]
        if self.budget:
            self.total = checkpoint["total"]
            self.had_ended |= self.elapsed - self.budget_began >= self.budget
        if self.budget and self.had_ended:
            self.budget_began = self.elapsed
            self.total = self.step + math.ceil(self.budget * self.step / (self.elapsed or 1.0))
        self.stretched_at = self.step, self.elapsed
        self.lr_factor, self.best = checkpoint["lr_factor"], checkpoint["best"]
        self.last_card, self.accepted = checkpoint["last_card"], checkpoint["accepted"]
        self.start_sha256 = checkpoint["start_sha256"]
        self.log = [Validation(*row) for row in checkpoint["log"]]
        self._write_out()

    def _check_states(self, checkpoint: Mapping[str, Any], like: Mapping[str, Any]) -> None:
        """Raise TrainingError if what is to be loaded differs from `like` in names or shapes."""
        wrong = [checkpoints.difference(checkpoint["best"]["weights"], like["network"], "best")]
        states = {"state": checkpoint["state"]}
        if checkpoint["accepted"]:
            states["accepted"] = checkpoint["accepted"]["state"]
        for name, state in states.items():
            # a parameter that had no gradient yet has no state of the optimizer
            there = state.get("optimizer")
            some = {p: entry for p, entry in like["optimizer"].items() if isinstance(there, dict) and p in there}
            wrong.append(checkpoints.difference(state, {**like, "optimizer": some}, name))
        if any(wrong):
            path = self.folder / checkpoints.NAME
            raise TrainingError(
                f"{path} does not fit this training: {next(filter(None, wrong))}. {checkpoints.remedy(self.folder)}"
            )

    def _check_nothing_is_lost(self, start: Path | str | None) -> None:
        """Weights without a checkpoint would be replaced by those of a training that begins anew."""
        weights = self.folder / "weights.safetensors"
        if weights.exists() and not (isinstance(start, Path) and start.exists() and start.samefile(weights)):
            raise TrainingError(
                f"{self.folder} has weights.safetensors of a training, and no {checkpoints.NAME} to go on from. To go"
                f" on from the weights, add --start {weights}; to begin anew, name another --folder."
            )

    def _checkpoint(self) -> dict[str, Any]:
        return {
            "identity": self._identity(),
            "state": self._state(),
            "step": self.step,
            "elapsed": self.elapsed,
            "total": self.total,
            "budget_began": self.budget_began,
            "left_out": self.left_out,
            "lr_factor": self.lr_factor,
            "best": self.best,
            "last_card": self.last_card,
            "accepted": self.accepted,
            "start_sha256": self.start_sha256,
            "log": [list(row) for row in self.log],
        }

    def _write_out(self) -> None:
        """Weights, log and curves as the checkpoint has them, where they are not."""
        if self.best:
            self._export(self.best["weights"], self.best["card"], "weights")
        if self.last_card:
            self._export(self.mean.state_dict(), self.last_card, "last")
        write_log(self.folder, self.log)

    def _export(self, weights: Mapping[str, Tensor], card: Mapping[str, Any], stem: str) -> None:
        trained = copy.deepcopy(self.mean)
        trained.load_state_dict(weights)
        exported = self.restorer.exported(trained.eval()).state_dict()
        if not is_exported(exported, self.folder, card, stem):
            export(exported, self.folder, card, stem)

    # --- running ---

    def run(self, stepped: Callable[[], object] = lambda: None) -> Iterator[Validation]:
        """Train to the end of the schedule; yields after each validation, when the checkpoint has been written.

        stepped  is called after each step
        """
        with self._on_its_stream():
            yield from self._run(stepped)

    def _run(self, stepped: Callable[[], object]) -> Iterator[Validation]:
        if not self.log:
            yield self._validate(torch.empty(0))
        ready = batches(self.crops, self.device, self.step)
        while self.step < self.total:
            losses = []
            began = monotonic()
            for _ in range(min(self.recipe.validate_every, self.total - self.step)):
                losses.append(self._train_step(*next(ready)))
                stepped()
                if self.step % AT_MOST_AHEAD == 0:
                    self._wait()
                if self.budget and self.elapsed - self.budget_began + monotonic() - began > self.budget:
                    break
            told = torch.stack(losses).cpu()  # waits for the device
            self.elapsed += monotonic() - began
            yield self._validate(told)

    def timed(self, steps: int) -> tuple[float, float]:
        """Make twice so many steps; how many a second in the first half, which compiles, and in the second."""
        with self._on_its_stream():
            ready = batches(self.crops, self.device, self.step)
            rates = []
            for _ in range(2):
                began = monotonic()
                for _ in range(steps):
                    self._train_step(*next(ready))
                self._wait()
                rates.append(steps / (monotonic() - began))
        return rates[0], rates[1]

    @contextmanager
    def _on_its_stream(self) -> Iterator[None]:
        """On a GPU all of a training runs on one stream, which can be recorded."""
        if self.graphs is None:
            yield
            return
        self.graphs.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.graphs.stream):
            yield

    def _wait(self) -> None:
        """For the device, which the host would else run away from, and with it the clock of the budget."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _train_step(self, y: Tensor, x: Tensor, seen: Observation, level: Level) -> Tensor:
        self._set_lr()
        # What a network itself draws, as dropout does, hangs on the step alone: so it is drawn again after a stop.
        torch.manual_seed(int(seed_of(self.recipe.seed, "network", self.step)[0]))
        kind = seen.task, level, self._to_train()
        y, x = (crops.to(self.device, non_blocking=True) for crops in (y, x))

        def step(y: Tensor, x: Tensor) -> Tensor:
            return self._gradient_step(y, x, seen, level)

        # a mosaic's first guess is made by the processor
        loss = self.graphs.make(kind, step, y, x) if self.graphs and seen.mask is None else step(y, x)
        if isinstance(self.optimizer, SOAP):
            self.optimizer.turn(self.step + 1)
        self._average()
        self.step += 1
        return loss

    def _gradient_step(self, y: Tensor, x: Tensor, seen: Observation, level: Level) -> Tensor:
        """From a batch on the device to new weights; the loss, nan if the step was left out.

        On a GPU nothing here waits for a number.
        """
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.bf16):
            x_hat = self.restorer.estimate(self.network, y, seen, level)
            target = self.teacher(y, seen, level) if self.teacher else x
        check_shape(self.restorer.name, x_hat, target)
        loss = self.restorer.loss(x_hat.float(), target.float())
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip or math.inf)
        # one crop whose gradient overflows would spoil the weights for good
        if self.graphs:
            # every optimizer leaves the step out by it
            self.optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
            self.optimizer.step()
        elif norm.isfinite():
            self.optimizer.step()
        return torch.where(norm.isfinite(), loss.detach(), math.nan)

    def _set_lr(self) -> None:
        lr = self.lr
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr

    def _to_train(self) -> bool:
        """Training mode; whether batch normalisation goes by what it has seen."""
        self.network.train()
        fixed = self.step >= self.recipe.fix_norms_at * self.total
        if fixed:
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return fixed

    def _average(self) -> None:
        """mean <- ema * mean + (1 - ema) * network for the parameters; a shorter memory in the first steps."""
        if self.mean is self.network:
            return
        ema = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, new in zip(self.mean.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(new, 1 - ema)
            for seen, now in zip(self.mean.buffers(), self.network.buffers(), strict=True):
                seen.copy_(now)  # what batch normalisation has seen is a running mean already

    # --- validating ---

    def _validate(self, losses: Tensor) -> Validation:
        """losses  of the steps since the last validation, on the host; none before the first step"""
        began = monotonic()
        lr = self.lr
        with self._options_are_to_blame() if not self.log else nullcontext():
            psnr_db = self._psnr_db()
        made = losses[losses.isfinite()]
        self.left_out += len(losses) - len(made)
        self._check_it_goes_on(psnr_db, losses)
        self.elapsed += monotonic() - began
        self._stretch()
        if psnr_db > self.best_db:
            self.best = self._as_best(psnr_db)
        self.last_card = self._card(psnr_db) if self.step >= self.total else None
        self._backtrack(psnr_db)
        loss = float(made.mean()) if len(made) else math.nan
        now = Validation(self.step, self.total, self.elapsed, lr, loss, psnr_db, self.best_db)
        self.log.append(now)
        checkpoints.write(self.folder, self._checkpoint())
        self._write_out()
        return now

    def _check_it_goes_on(self, psnr_db: float, losses: Tensor) -> None:
        is_left_out = ~losses.isfinite()
        left_out = int(is_left_out.sum()), len(losses)
        why = why_not_on((self.network, self.mean), psnr_db, left_out, (self.left_out, self.step))
        if not why:
            return
        if self.best is None:
            raise TrainingError(f"Nothing was trained: before the first step {why}. Nothing was written.")
        if left_out[0]:
            first = self.step - len(losses) + int(is_left_out.nonzero()[0]) + 1
            why += f", since step {self.log[-1].step} first in step {first}"
        weights, step = self.folder / "weights.safetensors", self.best["step"]
        kept = f"{weights}, of step {step}, {self.best_db:.3f} dB{'' if step else ', untrained'}"
        clip = f"another clip than {self.recipe.clip:g}" if self.recipe.clip else "a clip, say 1.0"
        raise DivergedError(
            f"The training diverged before step {self.step}: {why}. The learning rate was {self.lr:.3g}."
            f" Kept: {kept}; and {self.folder / checkpoints.NAME}, of step {self.log[-1].step}. Try a smaller lr than"
            f" {self.recipe.lr:g} or {clip} in the recipe, in another --folder."
        )

    def _as_best(self, psnr_db: float) -> dict[str, Any]:
        weights = {name: tensor.detach().clone().cpu() for name, tensor in self.mean.state_dict().items()}
        return {"psnr_db": psnr_db, "step": self.step, "card": self._card(psnr_db), "weights": weights}

    def _psnr_db(self) -> float:
        return held_out_psnr_db(self.restorer, self.mean, self.validation, self.device)

    def _stretch(self) -> None:
        """Set the schedule's length so that it ends with the budget, at the speed since the last validation.

        The first steps of a session are no measure: they compile.
        """
        step, elapsed = self.stretched_at
        self.stretched_at = self.step, self.elapsed
        if self.budget and self.step > step:
            left = max(0.0, self.budget_began + self.budget - self.elapsed)
            self.total = self.step + math.floor(left * (self.step - step) / (self.elapsed - elapsed))

    def _backtrack(self, psnr_db: float) -> None:
        """Go back to the last accepted state, with a smaller step, when the validation PSNR has dropped.

        Source: the paper of GroupSC, Sec. 4, "backtracking strategy".
        """
        if not self.recipe.backtrack_db:
            return
        if self.accepted is not None and psnr_db < self.accepted["psnr_db"] - self.recipe.backtrack_db:
            if self.step >= self.total:
                return  # the last weights are those of the last step
            self._load_state(self.accepted["state"])
            self.lr_factor *= self.recipe.backtrack_factor
        else:
            self.accepted = {"psnr_db": psnr_db, "state": copy.deepcopy(self._state())}

    def _card(self, psnr_db: float) -> dict[str, Any]:
        """What the exported weights say of themselves."""
        return {
            **self._identity(),
            "options": self._exported_options(),
            "start_sha256": self.start_sha256,
            "teacher_sha256": self.teacher and self.teacher.weights_sha256,
            "step": self.step,
            "seconds": round(self.elapsed, 1),
            "device": str(self.device),
            "validation_psnr_db": round(psnr_db, 4),
            "restorer_version": self.restorer.version,
            "torch": str(torch.__version__),  # its own kind is not read back from a checkpoint
        }

    def _exported_options(self) -> dict[str, Any]:
        """Those of the network that is exported."""
        trained_with = self.recipe.network_options
        return {name: value for name, value in trained_with.items() if name not in self.restorer.training_options}


def _bytes_in(state: Any) -> int:
    """Of the tensors in a tree."""
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    return sum(map(_bytes_in, state.values())) if isinstance(state, Mapping) else 0
