"""The training loop: steps on crops, validated on held-out images, checkpointed: it may be killed at any step."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import TrainingError
from bench.restorer import TorchRestorer
from bench.task import Level, Observation, Setting
from bench.training.batches import batches
from bench.training.crops import Crops
from bench.training.files import Log, Validation, export, read_checkpoint, read_weights, sha256_of, write_checkpoint
from bench.training.graph import Graphs
from bench.training.recipe import Recipe
from bench.training.scoring import held_out_psnr_db
from bench.training.soap import SOAP
from bench.training.teacher import Teacher

__all__ = ["Training"]

N_CROPS_TO_INITIALISE = 512
AT_MOST_AHEAD = 32  # steps that the host may be ahead of the device


class Training:
    """One training in one folder: checkpoint.pt, log.csv, curves.svg, and weights.safetensors, the best so far.

    At its end also last.safetensors: the crops that validate are few, and what they say may be off by 0.01 dB.

    seconds  a budget that the schedule is stretched to; None: the recipe's steps, or `steps`
    start    weights to begin with: see read_weights
    code_sha256  of the restorer's code: see bench.plugins.identity
    Goes on from the folder's checkpoint if there is one. Raises TrainingError if that is of another training.
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
        start: Path | None = None,
        code_sha256: str = "",
    ) -> None:
        self.code_sha256 = code_sha256
        self.restorer, self.recipe, self.setting, self.crops, self.folder = restorer, recipe, setting, crops, folder
        self.device = torch.device(device)
        self.graphs = Graphs(self.device) if self.device.type == "cuda" else None
        self.budget = seconds
        self.total = steps or recipe.steps
        self.step, self.elapsed, self.lr_factor, self.best_db = 0, 0.0, 1.0, -math.inf
        self.stretched_at = 0, 0.0  # step and elapsed
        self.accepted: dict[str, Any] | None = None
        self.validation = crops.validation()
        self.teacher = Teacher(recipe.teacher, setting, self.device) if recipe.teacher else None
        self._make_network(start)
        self.start_sha256 = None if start is None else sha256_of(start)
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint = read_checkpoint(folder)
        if checkpoint is not None:
            self._resume(checkpoint)
        self.log = Log(folder, self.step)

    # --- setting up ---

    def _make_network(self, start: Path | None) -> None:
        torch.manual_seed(self.recipe.seed)
        self.restorer.options = self.recipe.network_options
        network = self.restorer.network(self.setting)
        if start is None:
            clean = torch.from_numpy(self.crops.clean(N_CROPS_TO_INITIALISE)).permute(0, 3, 1, 2)
            self.restorer.initialise(network, clean)
        else:
            read_weights(network, start, self.setting.level, self.restorer.of_level)
        self.network = network.to(self.device)
        self.optimizer = self._optimizer()
        self.mean = copy.deepcopy(self.network) if self.recipe.ema else self.network

    def _optimizer(self) -> torch.optim.Optimizer:
        parameters, eps, on_gpu = list(self.network.parameters()), self.recipe.eps, self.device.type == "cuda"
        # a graph reads what changes from step to step out of the device's memory
        lr = torch.tensor(self.recipe.lr, device=self.device) if on_gpu else self.recipe.lr
        if self.recipe.optimizer == "soap":
            return SOAP(parameters, lr, eps, every=self.recipe.turn_every)
        return torch.optim.Adam(parameters, lr, eps=eps, fused=on_gpu, capturable=on_gpu)

    def _identity(self) -> dict[str, Any]:
        """What must not change between the sessions of one training."""
        return {
            "restorer": ":".join(filter(None, (self.restorer.name, self.restorer.variant))),
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
            "optimizer": self.optimizer.state_dict(),
        }

    def _load_state(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.mean.load_state_dict(state["mean"])
        own = [{**group} for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, as_it_was in zip(self.optimizer.param_groups, own, strict=True):
            group.update(as_it_was)  # its rate is this session's tensor, on this session's device
        if self.graphs:
            self.graphs.forget()

    def _resume(self, checkpoint: Mapping[str, Any]) -> None:
        if checkpoint["identity"] != self._identity():
            different = [key for key, value in self._identity().items() if checkpoint["identity"].get(key) != value]
            weights = self.folder / "weights.safetensors"
            raise TrainingError(
                f"{self.folder} holds another training (other {', '.join(different)}). Name another --folder;"
                f" to go on from the weights that it has, add --start {weights}."
            )
        self._load_state(checkpoint["state"])
        self.step, self.elapsed = checkpoint["step"], checkpoint["elapsed"]
        self.total = checkpoint["total"] if self.budget else self.total
        self.stretched_at = self.step, self.elapsed
        self.lr_factor, self.best_db = checkpoint["lr_factor"], checkpoint["best_db"]
        self.accepted, self.start_sha256 = checkpoint["accepted"], checkpoint.get("start_sha256")

    def _checkpoint(self) -> dict[str, Any]:
        return {
            "identity": self._identity(),
            "state": self._state(),
            "step": self.step,
            "elapsed": self.elapsed,
            "total": self.total,
            "lr_factor": self.lr_factor,
            "best_db": self.best_db,
            "accepted": self.accepted,
            "start_sha256": self.start_sha256,
        }

    # --- running ---

    def run(self) -> Iterator[Validation]:
        """Train to the end of the schedule; yields after each validation, when the checkpoint has been written."""
        with self._on_its_stream():
            yield from self._run()

    def _run(self) -> Iterator[Validation]:
        if self.step == 0:
            yield self._validate(math.nan)
        ready = batches(self.crops, self.device, self.step)
        while self.step < self.total:
            losses = []
            began = monotonic()
            for _ in range(min(self.recipe.validate_every, self.total - self.step)):
                losses.append(self._train_step(*next(ready)))
                if self.step % AT_MOST_AHEAD == 0:
                    self._wait()
                if self.budget and self.elapsed + monotonic() - began > self.budget:
                    break
            loss = float(torch.stack(losses).mean())  # waits for the device
            self.elapsed += monotonic() - began
            yield self._validate(loss)

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
        kind = level, self._to_train()
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
        """From a batch on the device to new weights; the loss. On a GPU nothing here waits for a number."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.bf16):
            x_hat = self.restorer.estimate(self.network, y, seen, level)
            target = self.teacher(y, seen, level) if self.teacher else x
        loss = self.restorer.loss(x_hat.float(), target.float())
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip or math.inf)
        # one crop whose gradient overflows would spoil the weights for good
        if self.graphs:
            # both optimizers leave the step out by it
            self.optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
            self.optimizer.step()
        elif norm.isfinite():
            self.optimizer.step()
        return loss.detach()

    def _set_lr(self) -> None:
        lr = self._lr()
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

    def _lr(self) -> float:
        progress = self.step / self.total
        if self.recipe.schedule == "cosine":
            factor = (1 + math.cos(math.pi * progress)) / 2
        else:
            passed = sum(progress >= at for at in self.recipe.decay_at)
            factor = self.recipe.decay ** (passed or int(progress / self.recipe.decay_every))
        rising = min(1.0, (self.step + 1) / self.recipe.warm_up) if self.recipe.warm_up else 1.0
        return self.recipe.lr * self.lr_factor * factor * rising

    # --- validating ---

    def _validate(self, loss: float) -> Validation:
        began = monotonic()
        lr = self._lr()
        psnr_db = self._psnr_db()
        self.elapsed += monotonic() - began
        self._stretch()
        if psnr_db > self.best_db:
            self.best_db = psnr_db
            export(self.mean, self.folder, self._card(psnr_db))
        if self.step >= self.total:
            export(self.mean, self.folder, self._card(psnr_db), "last")
        self._backtrack(psnr_db)
        write_checkpoint(self.folder, self._checkpoint())
        now = Validation(self.step, self.total, self.elapsed, lr, loss, psnr_db, self.best_db)
        self.log.add(now)
        return now

    def _psnr_db(self) -> float:
        return held_out_psnr_db(self.restorer, self.mean, self.validation, self.device)

    def _stretch(self) -> None:
        """Set the schedule's length so that it ends with the budget, at the speed since the last validation.

        The first steps of a session are no measure: they compile.
        """
        step, elapsed = self.stretched_at
        self.stretched_at = self.step, self.elapsed
        if self.budget and self.step > step:
            left = max(0.0, self.budget - self.elapsed)
            self.total = self.step + math.floor(left * (self.step - step) / (self.elapsed - elapsed))

    def _backtrack(self, psnr_db: float) -> None:
        """Go back to the last accepted state, with a smaller step, when the validation PSNR has dropped.

        Source: the paper of GroupSC, Sec. 4, "backtracking strategy".
        """
        if not self.recipe.backtrack_db:
            return
        if self.accepted is not None and psnr_db < self.accepted["psnr_db"] - self.recipe.backtrack_db:
            self._load_state(self.accepted["state"])
            self.lr_factor *= self.recipe.backtrack_factor
        else:
            self.accepted = {"psnr_db": psnr_db, "state": copy.deepcopy(self._state())}

    def _card(self, psnr_db: float) -> dict[str, Any]:
        """What the exported weights say of themselves."""
        return {
            **self._identity(),
            "options": self.recipe.network_options,
            "start_sha256": self.start_sha256,
            "teacher_sha256": self.teacher and self.teacher.weights_sha256,
            "step": self.step,
            "seconds": round(self.elapsed, 1),
            "device": str(self.device),
            "validation_psnr_db": round(psnr_db, 4),
            "restorer_version": self.restorer.version,
            "torch": torch.__version__,
        }
