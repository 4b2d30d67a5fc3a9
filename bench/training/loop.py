"""The training loop: steps on crops, validated on held-out images, checkpointed: it may be killed at any step."""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.errors import TrainingError
from bench.restorer import TorchRestorer
from bench.task import Level, Observation, Setting
from bench.training.crops import Batch, Crops
from bench.training.files import Log, export, read_checkpoint, read_weights, sha256_of, write_checkpoint
from bench.training.recipe import Recipe
from bench.training.soap import SOAP
from bench.training.teacher import Teacher

__all__ = ["Training", "Validation"]

N_CROPS_TO_INITIALISE = 512
Ready = tuple[Tensor, Tensor, Observation, Level]  # y, x (N, C, H, W), and what `estimate` wants beside
AHEAD = 4  # batches made while the network is busy, by threads of their own


@dataclass(frozen=True)
class Validation:
    """Where a training stands: after `step` of `total` steps and `seconds`, both summed over all its sessions."""

    step: int
    total: int
    seconds: float
    lr: float
    loss: float
    psnr_db: float
    best_db: float


class Training:
    """One training in one folder: checkpoint.pt, log.csv, curves.svg, and weights.safetensors, the best so far.

    At its end also last.safetensors: the crops that validate are few, and what they say may be off by 0.01 dB.

    seconds  a budget that the schedule is stretched to; None: the recipe's steps, or `steps`
    start    weights to begin with: see read_weights
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
    ) -> None:
        self.restorer, self.recipe, self.setting, self.crops, self.folder = restorer, recipe, setting, crops, folder
        self.device = torch.device(device)
        self.budget = seconds
        self.total = steps or recipe.steps
        self.step, self.elapsed, self.lr_factor, self.best_db = 0, 0.0, 1.0, -math.inf
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
        parameters, lr, eps = self.network.parameters(), self.recipe.lr, self.recipe.eps
        if self.recipe.optimizer == "soap":
            return SOAP(parameters, lr, eps)
        return torch.optim.Adam(parameters, lr, eps=eps, fused=self.device.type == "cuda")

    def _identity(self) -> dict[str, Any]:
        """What must not change between the sessions of one training."""
        return {
            "restorer": ":".join(filter(None, (self.restorer.name, self.restorer.variant))),
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
        self.optimizer.load_state_dict(state["optimizer"])

    def _resume(self, checkpoint: Mapping[str, Any]) -> None:
        if checkpoint["identity"] != self._identity():
            different = [key for key, value in self._identity().items() if checkpoint["identity"].get(key) != value]
            raise TrainingError(
                f"{self.folder} holds another training (other {', '.join(different)}). Name another --folder."
            )
        self._load_state(checkpoint["state"])
        self.step, self.elapsed = checkpoint["step"], checkpoint["elapsed"]
        self.total = checkpoint["total"] if self.budget else self.total
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
        if self.step == 0:
            yield self._validate(math.nan)
        batches = self._batches()
        while self.step < self.total:
            losses = []
            began = monotonic()
            for _ in range(min(self.recipe.validate_every, self.total - self.step)):
                losses.append(self._train_step(*next(batches)))
                if self.budget and self.elapsed + monotonic() - began > self.budget:
                    break
            loss = float(torch.stack(losses).mean())  # waits for the device
            self.elapsed += monotonic() - began
            yield self._validate(loss)
        batches.close()

    def _batches(self) -> Generator[Ready, None, None]:
        """The batches from this step on, ready before they are wanted."""
        with ThreadPoolExecutor(2) as pool:
            coming: deque[Future[Ready]] = deque()
            for step in count(self.step):
                coming.append(pool.submit(self._ready, step))
                if len(coming) > AHEAD:
                    yield coming.popleft().result()

    def _ready(self, step: int) -> Ready:
        return self._in_tensors(self.crops.batch(step))

    def _in_tensors(self, batch: Batch) -> Ready:
        return self._tensor(batch.y), self._tensor(batch.x), batch.seen, batch.level

    def _train_step(self, y: Tensor, x: Tensor, seen: Observation, level: Level) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr()
        self._to_train()
        y, x = (crops.to(self.device, non_blocking=True) for crops in (y, x))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.bf16):
            x_hat = self.restorer.estimate(self.network, y, seen, level)
            target = self.teacher(y, seen, level) if self.teacher else x
        loss = self.restorer.loss(x_hat.float(), target.float())
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip or math.inf)
        if norm.isfinite():  # one crop whose gradient overflows would spoil the weights for good
            self.optimizer.step()
            self._average()
        self.step += 1
        return loss.detach()

    def _to_train(self) -> None:
        self.network.train()
        if self.step >= self.recipe.fix_norms_at * self.total:
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

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

    def _tensor(self, crops: np.ndarray) -> torch.Tensor:
        """(N, H, W, C) array to (N, C, H, W) tensor, in memory that a GPU copies from without anybody waiting."""
        tensor = torch.from_numpy(crops).permute(0, 3, 1, 2).contiguous()
        return tensor.pin_memory() if self.device.type == "cuda" else tensor

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
        """Mean over the validation crops."""
        self.mean.eval()
        each = []
        for y, x, seen, level in map(self._in_tensors, self.validation):
            with torch.no_grad():
                x_hat = self.restorer.estimate(self.mean, y.to(self.device), seen, level).clamp(0, 1)
            each.append(-10 * (x_hat - x.to(self.device)).square().mean((1, 2, 3)).log10())
        return float(torch.cat(each).mean())

    def _stretch(self) -> None:
        """Set the schedule's length so that it ends with the budget, at the speed seen so far."""
        if self.budget and self.step:
            left = max(0.0, self.budget - self.elapsed)
            self.total = self.step + math.floor(left * self.step / self.elapsed)

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
