"""Training: a model fitted end to end by gradients, stopped on rows held out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

import torch
from torch import nn
from tqdm import tqdm

from gaussflow._check import check_int
from gaussflow.models._variational import Variational
from gaussflow.models.diagnostics import warn_if_collapsed
from gaussflow.rows import Data, RankRows, Rows, as_rows
from gaussflow.training._checkpoint import PathLike
from gaussflow.training._history import History
from gaussflow.training._settings import Augment, Settings
from gaussflow.training._trainer import Trainer
from gaussflow.transforms.base import Transform

MakeOptimizer: TypeAlias = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def train(
    model: nn.Module,
    rows: Data,
    *,
    valid: Data | None = None,
    epochs: int = 200,
    batch_size: int = 256,
    lr: float = 1e-2,
    patience: int = 10,
    clip: float | None = 5.0,
    seed: int = 0,
    progress: bool = True,
    checkpoint: PathLike | None = None,
    optimizer: MakeOptimizer | None = None,
    ema: float | None = None,
    autocast: torch.dtype | None = None,
    augment: Augment | None = None,
) -> History:
    r"""Maximise the mean of ``model(x, context)`` over rows: a log-density, or a bound on it.

    Each epoch goes through the rows once, then the mean over held-out rows is taken. After ``patience`` epochs without
    a better held-out mean the model goes back to its best weights and the learning rate falls to a third; the third
    time, or after ``epochs`` epochs, training ends. The model is left with the best weights seen, those at the start
    included, so that training never makes the held-out mean worse; it is left so after an interruption too.

    Parameters
    ----------
    model
        Called as ``model(x, context)`` with x (n, D) and context (n, C) or None; returns (n,). It is left in
        evaluation mode.
    rows
        A tensor (N, D), a re-iterable of chunks, or a `Rows`; pass ``as_rows(x, context)`` where there is context.
        Chunks are shuffled within buffers of several chunks. With `RankRows`, gradients are summed over the ranks,
        the weights start as those of rank 0, and each rank holds its share in memory.
    valid
        Held-out rows; None holds out about a tenth of the rows, chosen by the seed.
    epochs
        Largest number of epochs.
    batch_size
        Rows for each step, over all ranks.
    lr
        Learning rate of Adam at the start.
    patience
        Epochs without a better held-out mean before the learning rate falls.
    clip
        Largest norm of the gradient; None for no limit.
    seed
        Decides the held-out rows, the batches and the model's own noise; torch's random state is left as it was.
    progress
        Whether to show a progress bar on stderr.
    checkpoint
        A file to write to and to go on from: training that was interrupted gives the same numbers, to the bit, as
        training that was not. It is written after an epoch, and takes at most a twentieth of the time. With `RankRows`
        rank 0 writes it and every rank reads it.
    optimizer
        Takes the parameters and returns an optimizer, for another than Adam; then ``lr`` is not used.
    ema
        Decay of an exponential moving average of the weights, 0.999 for instance: held-out rows judge the average, and
        the model is left with it. None for none.
    autocast
        ``torch.bfloat16`` for mixed precision in the steps; transforms, likelihoods and what held-out rows judge keep
        their own. None for none.
    augment
        Called as ``augment(x, generator)`` on the rows (n, D) of each batch, returns as many; the generator is seeded
        by ``seed`` and epoch. Held-out rows stay as they are. None for none.

    Returns
    -------
    history
        One record for the start and one for each epoch: epoch, train and valid (minus the mean: the nats per
        row left, lower is better), lr, norm (mean norm of the gradient), skipped (batches left out since their
        value or gradient was not finite), seconds.

    Warns
    -----
    PosteriorCollapseWarning
        When a variational model comes out of more than ``patience`` epochs with less than a tenth of its units active
        on the held-out rows.

    Raises
    ------
    ValueError
        When a part is not smooth, nothing can be trained, or the checkpoint belongs to another training.
    FloatingPointError
        When ten batches in a row are not finite.

    Notes
    -----
    The learning rate falls on a plateau, since a cosine wants the number of epochs to be known beforehand and rows
    decide it here; on real tables a start of 1e-2 was better than 3e-3 for mixture and coupling flows alike.
    Sources: Kingma and Ba (2015) for Adam; Polyak and Juditsky (1992) for averages of weights.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Flow, HouseholderRotation, Standardize, Chain, train
    >>> x = torch.randn(500, 3) @ torch.randn(3, 3)
    >>> flow = Flow(Chain(HouseholderRotation(3, 3), Standardize(3)))
    >>> history = train(flow, x, epochs=5, progress=False)
    >>> len(history), history[-1]["epoch"], bool(history[-1]["valid"] < history[0]["valid"])
    (6, 5, True)
    """
    check_int("train", "epochs", epochs, 0)
    check_int("train", "batch_size", batch_size, 1)
    check_int("train", "patience", patience, 1)
    check_int("train", "seed", seed, 0)
    if not (lr > 0 and (clip is None or clip > 0)):
        raise ValueError(f"train wants lr and clip above 0; got {lr} and {clip}.")
    if not (ema is None or 0 < ema < 1):
        raise ValueError(f"train wants ema between 0 and 1; got {ema}. 0.999 averages over about a thousand steps.")
    if autocast not in (None, torch.bfloat16):
        raise ValueError(f"train wants torch.bfloat16 or None for autocast; got {autocast}. Others need a scaled loss.")
    parameters = _trainable(model)
    rows, valid = _held_out(rows, valid, seed)
    make = optimizer or (lambda p: torch.optim.Adam(p, lr=lr))
    settings = Settings(batch_size, patience, clip, seed, ema, autocast, augment)
    trainer = Trainer(model, make(parameters), rows, valid, settings)
    if checkpoint is not None and Path(checkpoint).exists():
        trainer.resume(checkpoint)
    _run(trainer, epochs, progress, checkpoint)
    if isinstance(model, Variational) and trainer.epoch > patience:
        warn_if_collapsed(model, valid)
    return trainer.history


def _run(trainer: Trainer, epochs: int, progress: bool, checkpoint: PathLike | None) -> None:
    """Epoch after epoch until the end; whatever happens, the model is left with its best weights."""
    devices = [p.device for p in trainer.parameters[:1] if p.is_cuda]
    bar = tqdm(total=epochs, initial=trainer.epoch, desc="train", unit="epoch", disable=not progress)
    try:
        with bar, torch.random.fork_rng(devices=devices):
            while trainer.epoch < epochs and not trainer.finished:
                trainer.run_epoch()
                trainer.write(checkpoint, last=trainer.finished or trainer.epoch >= epochs)
                bar.update()
                bar.set_postfix_str(f"held out {-trainer.best_score:.4f} nats, lr {trainer.lr:.1e}")
    finally:
        trainer.restore_best()


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters to train, once every transform inside is seen to be smooth."""
    for name, part in model.named_modules():
        inner = (t for t in part.modules() if t is not part and isinstance(t, Transform))
        if isinstance(part, Transform) and not part.smooth and all(t.smooth for t in inner):
            raise ValueError(
                f"train wants smooth parts; {type(part).__name__} at {name or 'the top'} has a density with jumps, "
                "which gradients do not see. Use a smooth transform in its place, MarginalSpline for instance."
            )
    if not (parameters := [p for p in model.parameters() if p.requires_grad]):
        raise ValueError(
            f"train wants a model with parameters; {type(model).__name__} has none that require gradients."
        )
    return parameters


def _held_out(rows: Data, valid: Data | None, seed: int) -> tuple[Rows, Rows]:
    """The rows to train on and those held out, of one dimension."""
    rows = as_rows(rows)
    rows, valid = rows.split(0.1, seed) if valid is None else (rows, as_rows(valid))
    if (rows.dim, rows.context_dim) != (valid.dim, valid.context_dim):
        raise ValueError(
            f"train wants valid rows like the rows: ({rows.dim} coordinates, {rows.context_dim} of context); "
            f"got ({valid.dim}, {valid.context_dim})."
        )
    if isinstance(rows, RankRows) != isinstance(valid, RankRows):
        raise ValueError("train wants RankRows for both rows and valid, or for neither.")
    return rows, valid
