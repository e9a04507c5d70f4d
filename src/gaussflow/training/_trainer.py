"""The state of a training: one epoch at a time, to a checkpoint and back."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gaussflow.models.schedules import KLAnnealing
from gaussflow.rows import Chunk, RankRows, Rows
from gaussflow.training._average import Average, State, copy_of
from gaussflow.training._batches import batches, device_of, mean_over, to_device
from gaussflow.training._checkpoint import PathLike, read_checkpoint, write_checkpoint
from gaussflow.training._history import History
from gaussflow.training._settings import Settings, identity

FALL = 1 / 3  # what the learning rate is multiplied with on a plateau
FALLS = 2  # how often it falls before a plateau is the end
BAD_BATCHES = 10  # non-finite batches in a row before giving up
SHARE = 0.05  # of the time that may go into writing checkpoints


class Trainer:
    """Adam steps, held-out means, the plateau rule and the checkpoint; `train` describes the arguments.

    All randomness of an epoch is seeded anew from seed and epoch, so that a checkpoint needs no generator states.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        rows: Rows,
        valid: Rows,
        settings: Settings,
    ) -> None:
        self.model, self.optimizer, self.rows, self.valid, self.settings = model, optimizer, rows, valid, settings
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.ranks = isinstance(rows, RankRows)
        self.epoch, self.waited, self.falls, self.bad, self.finished = 0, 0, 0, 0, False
        self.first_lr = [group["lr"] for group in optimizer.param_groups]
        self.history = History()
        self.identity = identity(settings, optimizer, rows, valid)
        self._written, self._cost = time.monotonic(), 0.0
        if self.ranks:
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, 0)
        self.average = None if settings.ema is None else Average(model, settings.ema)
        start = time.perf_counter()
        self.best_score = self._score()
        self.best = self._snapshot()
        self._record(None, None, 0, time.perf_counter() - start, self.best_score)

    @property
    def lr(self) -> float:
        """The learning rate of the first group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def run_epoch(self) -> None:
        """Go through the rows once, then look at the held-out rows and decide how to go on."""
        start, total, norms, count, skipped = time.perf_counter(), 0.0, 0.0, 0, 0
        self.epoch += 1
        torch.manual_seed(self._mixed(0))
        self.model.train()
        for chunk in self._augmented(batches(self.rows, self.settings.batch_size, self._mixed(1))):
            value, norm = self._step(chunk)
            if math.isfinite(value) and math.isfinite(norm):
                total, norms, count, self.bad = total + value, norms + norm, count + 1, 0
            else:
                skipped, self.bad = skipped + 1, self.bad + 1
            if self.bad >= BAD_BATCHES:
                raise FloatingPointError(
                    f"train met {self.bad} batches in a row whose value or gradient is not finite, the last in epoch "
                    f"{self.epoch} at lr {self.lr:.1e}; the model has its best weights. Standardize the rows, "
                    "lower lr, or look for rows far outside the model's range."
                )
        self._share_buffers()
        train, norm = (total / count, norms / count) if count else (math.nan, math.nan)
        score = self._score()
        self._record(train, norm, skipped, time.perf_counter() - start, score)
        self._judge(score)

    def _step(self, chunk: Chunk) -> tuple[float, float]:
        """One step uphill; value and norm of the gradient, and no step where one of them is not finite."""
        self.optimizer.zero_grad(set_to_none=True)
        device, dtype = device_of(self.model), self.settings.autocast
        with nullcontext() if dtype is None else torch.autocast(device.type, dtype):
            values = self.model(*to_device(chunk, device))
        if self.ranks:
            value = self._backward_over_ranks(values)
        else:
            mean = values.mean()
            value = float(mean.detach())
            if not math.isfinite(value):
                return value, math.nan
            (-mean).backward()
        norm = float(nn.utils.clip_grad_norm_(self.parameters, self.settings.clip or math.inf))
        if math.isfinite(value) and math.isfinite(norm):
            self.optimizer.step()
            if self.average is not None:
                self.average.update(self.model)
        return value, norm

    def _augmented(self, chunks: Iterable[Chunk]) -> Iterable[Chunk]:
        """The batches with their rows augmented, with noise that the seed and the epoch decide."""
        augment, generator = self.settings.augment, torch.Generator(self.rows.device).manual_seed(self._mixed(2))
        for x, context in chunks:
            y = x if augment is None else augment(x, generator)
            if y.shape != x.shape:
                raise ValueError(f"train wants augment to keep the shape {tuple(x.shape)}; got {tuple(y.shape)}.")
            yield y, context

    def _share_buffers(self) -> None:
        """Over ranks, take the buffers of the rank with the most rows: statistics of batches differ between ranks."""
        if isinstance(self.rows, RankRows):
            sizes = self.rows._all_gather([self.rows.local.n])
            most = sizes.index(max(sizes))
            for tensor in (*self.model.buffers(), *(self.average.state.values() if self.average else ())):
                dist.broadcast(tensor, most)

    def _backward_over_ranks(self, values: Tensor) -> float:
        """Gradients of the mean over the batches of all ranks, on every rank; returns that mean."""
        head = torch.stack([values.detach().double().sum(), values.new_tensor(len(values), dtype=torch.float64)])
        dist.all_reduce(head)
        (-values.sum() / head[1].to(values.dtype)).backward()
        for p in self.parameters:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
            dist.all_reduce(p.grad)
        return float(head[0] / head[1])

    def _score(self) -> float:
        """The held-out mean of the weights to keep, with the same noise every time; -inf where it is not a number."""
        devices = [d for d in [device_of(self.model)] if d.type == "cuda"]
        weights = nullcontext() if self.average is None else self.average.inside(self.model)
        with torch.random.fork_rng(devices=devices), weights:
            torch.manual_seed(self.settings.seed)
            score = mean_over(self.model, self.valid)
        return score if math.isfinite(score) else -math.inf

    def _judge(self, score: float) -> None:
        """Keep the best weights; on a plateau go back to them with a lower learning rate, or end."""
        if score > self.best_score:
            self.best_score, self.best, self.waited = score, self._snapshot(), 0
            return
        if any(isinstance(part, KLAnnealing) and part.changing for part in self.model.modules()):
            return  # the objective is not yet the one that held-out rows are judged by
        self.waited += 1
        if self.waited >= self.settings.patience:
            self.finished = self.falls == FALLS
            if not self.finished:
                counts = {k: v.clone() for k, v in self.model.state_dict().items() if not v.is_floating_point()}
                self.restore_best()
                self.model.load_state_dict(counts, strict=False)  # an annealing does not begin again
                self.falls, self.waited = self.falls + 1, 0
                self._set_lr()

    def _set_lr(self) -> None:
        for group, lr in zip(self.optimizer.param_groups, self.first_lr, strict=True):
            group["lr"] = lr * FALL**self.falls

    def _record(self, train: float | None, norm: float | None, skipped: int, seconds: float, score: float) -> None:
        left = None if train is None else -train  # nats per row left, so that lower is better, as it is in `grow`
        record = {"epoch": self.epoch, "train": left, "valid": -score, "lr": self.lr, "norm": norm}
        self.history.append(record | {"skipped": skipped, "seconds": round(seconds, 3)})

    def restore_best(self) -> None:
        """Give the model, and the average, the best weights; leave the model in evaluation mode."""
        self.model.load_state_dict(self.best)
        self.model.eval()
        if self.average is not None:
            self.average.state = copy_of(self.best)

    def _snapshot(self) -> State:
        """The weights that were scored: those of the average where there is one."""
        return copy_of(self.model.state_dict() if self.average is None else self.average.state)

    def _mixed(self, use: int) -> int:
        """A seed for one use in one epoch on one rank."""
        rank = dist.get_rank() if self.ranks else 0
        return hash((self.settings.seed, self.epoch, use, rank)) % 2**63

    def write(self, path: PathLike | None, last: bool) -> None:
        """Write the checkpoint, unless writing would take more than its share of the time."""
        start = time.monotonic()
        if path is None or (self.ranks and dist.get_rank()):
            return
        if not last and start - self._written < self._cost / SHARE:
            return
        state: dict[str, Any] = self.optimizer.state_dict()["state"]
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        tensors |= {f"optimizer.{i}.{k}": v for i, s in state.items() for k, v in s.items() if isinstance(v, Tensor)}
        if self.average is not None:
            tensors |= {f"average.{k}": v for k, v in self.average.state.items()}
        write_checkpoint(path, tensors, self._meta())
        self._written = time.monotonic()
        self._cost = self._written - start

    def _meta(self) -> dict[str, Any]:
        """What a checkpoint holds beside tensors; the first entry says which training it belongs to."""
        best = None if self.best_score == -math.inf else self.best_score
        return {
            "training": self.identity,
            "epoch": self.epoch,
            "waited": self.waited,
            "falls": self.falls,
            "bad": self.bad,
            "finished": self.finished,
            "best_score": best,
            "averaged": 0 if self.average is None else self.average.steps,
            "history": json.loads(self.history.to_json()),
        }

    def resume(self, path: PathLike) -> None:
        """Go on from a checkpoint; raises ValueError when it belongs to another training or model."""
        tensors, meta = read_checkpoint(path)
        got, mine = meta.get("training"), self.identity
        if not isinstance(got, dict) or (differ := [k for k, v in mine.items() if got.get(k) != v]):
            what = f" (it differs in {', '.join(differ)})" if isinstance(got, dict) else ""
            raise ValueError(f"{path} is the checkpoint of another training{what}. Use another file, or delete it.")
        try:
            self._take(tensors, meta)
        except (KeyError, TypeError, RuntimeError) as error:
            raise ValueError(f"{path} does not fit this model [{error}]. Use another file, or delete it.") from error

    def _take(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        self.best = {k: v.to(device_of(self.model)) for k, v in _under("best.", tensors)}
        self.model.load_state_dict(self.best)
        self.model.load_state_dict(dict(_under("model.", tensors)))
        if self.average is not None:
            self.average.state = {k: v.to(device_of(self.model)) for k, v in _under("average.", tensors)}
            self.average.steps = meta["averaged"]
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under("optimizer.", tensors):
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.epoch, self.waited, self.falls, self.bad = (meta[k] for k in ("epoch", "waited", "falls", "bad"))
        self.finished, self.history = meta["finished"], History(meta["history"])
        self.best_score = -math.inf if meta["best_score"] is None else meta["best_score"]
        self._set_lr()


def _under(prefix: str, tensors: dict[str, Tensor]) -> Iterable[tuple[str, Tensor]]:
    return ((name.removeprefix(prefix), tensor) for name, tensor in tensors.items() if name.startswith(prefix))
