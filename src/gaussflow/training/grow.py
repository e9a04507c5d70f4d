"""Growing: blocks fitted one after the other in closed form, kept as far as they buy held-out nats."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import torch
import torch.distributed as dist
from tqdm import tqdm

from gaussflow._check import check_int
from gaussflow.losses.decomposition import marginals_and_dependence
from gaussflow.models.flow import Flow
from gaussflow.rows import Data, RankRows, Rows, as_rows
from gaussflow.training._checkpoint import PathLike, read_checkpoint, write_checkpoint
from gaussflow.training._held_out import held_out_from
from gaussflow.training._history import History
from gaussflow.training._measures import gained_and_through, normal_nats
from gaussflow.transforms.base import Chain, Transform

MakeBlock: TypeAlias = Callable[[int, torch.Generator], Transform]
MIN_GAIN = 1e-3  # nats per row that the patience of blocks has to buy
NOTHING = 1e-9  # nats per row of a block that only turns


def grow(
    make_block: MakeBlock,
    rows: Data,
    *,
    valid: Data | None = None,
    max_blocks: int = 200,
    patience: int = 10,
    seed: int = 0,
    progress: bool = True,
    checkpoint: PathLike | None = None,
) -> tuple[Flow, History]:
    r"""Fit block after block, each on the data that the blocks before it leave, while held-out nats improve.

    .. math:: f = f_L \circ \dots \circ f_1, \qquad
        \text{gain of } f_l = E\bigl[\log|\det \partial f_l| + \tfrac12 \|x\|^2 - \tfrac12 \|f_l(x)\|^2\bigr]

    No gradients are taken. Growing ends when ``patience`` blocks together bought less than 0.001 nats on the held-out
    rows; the blocks after the best one are cut off, down to a single block, which is always kept.

    Parameters
    ----------
    make_block
        Called as ``make_block(index, generator)``; returns a new transform, which is then fitted. The generator is
        seeded from ``seed`` and the index, on the CPU.
    rows
        A tensor (N, D), a re-iterable of chunks, or a `Rows`; pass ``as_rows(x, context)`` where there is context.
    valid
        Held-out rows; None holds out about a tenth of the rows, chosen by the seed.
    max_blocks
        Largest number of blocks.
    patience
        Blocks without a gain on held-out rows before growing ends.
    seed
        Decides the held-out rows and the blocks' generators.
    progress
        Whether to show a progress bar on stderr.
    checkpoint
        A file to write to after each block and to go on from: growing that was interrupted gives the same flow.

    Returns
    -------
    flow, history
        The flow, whose blocks are the parts of its `Chain`, and one record for each block that was tried: block, kept
        (a block that changes no density is dropped, as are those after the best),
        gain and valid (held-out nats per row: those bought, and the negative log-density left), marginal_before and
        marginal_after (the sum of the marginal losses of the data that enters and that leaves), dependence and
        dependence_error (an estimate for the data that leaves), seconds.

    Raises
    ------
    ValueError
        For a block of another dimension, a block whose output is not finite, too few rows to hold some out, or a
        checkpoint of other data or settings.

    Notes
    -----
    Source: Chen & Gopinath (2000); Laparra, Camps-Valls & Malo (2011).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Chain, MarginalSpline, Rotation, grow, haar
    >>> x = torch.randn(500, 3).exp()
    >>> def make_block(index, generator):
    ...     return Chain(Rotation(3, haar(3, generator)), MarginalSpline(3))
    >>> flow, history = grow(make_block, x, max_blocks=3, progress=False)
    >>> flow.log_prob(x).shape, len(history)
    (torch.Size([500]), 3)
    """
    check_int("grow", "max_blocks", max_blocks, 1)
    check_int("grow", "patience", patience, 1)
    check_int("grow", "seed", seed, 0)
    rows = as_rows(rows)
    train, held_out = held_out_from("grow", rows, valid, seed)
    growth = Growth(make_block, train, held_out, seed, owner=valid is None)
    if checkpoint is not None and Path(checkpoint).exists():
        growth.resume(checkpoint)
    with tqdm(total=max_blocks, initial=len(growth.history), desc="grow", unit="block", disable=not progress) as bar:
        while len(growth.history) < max_blocks and not growth.stalled(patience):
            growth.add_block()
            bar.set_postfix(valid=f"{growth.nats[-1]:.4g}")
            bar.update()
            if checkpoint is not None:
                growth.write(checkpoint)
    return growth.result()


class Growth:
    """The state of a growing flow: blocks, what enters the next one, and the held-out nats after each."""

    def __init__(self, make_block: MakeBlock, train: Rows, held_out: Rows, seed: int, owner: bool = False) -> None:
        self.make_block, self.train, self.held_out, self.seed = make_block, train, held_out, seed
        self.owner = owner  # whether nobody else holds the rows to fit, so that they may be overwritten
        self.blocks: dict[int, Transform] = {}  # by the index of the try
        self.history = History()
        self.nats = [normal_nats(held_out)]  # before the first try, and after each
        self.identity = self._identity()
        self.marginal, self.left = marginals_and_dependence(train)

    def add_block(self) -> None:
        """Make, fit and measure one more block, and push the rows through it unless it changes nothing."""
        start, index, before = time.perf_counter(), len(self.history), self.marginal
        block = self._new_block(index).fit(self.train)
        gain, held_out = gained_and_through(block, self.held_out)
        if abs(gain) > NOTHING or not self.blocks:
            self._push(index, block, held_out)
            self.marginal, self.left = marginals_and_dependence(self.train)
        else:
            gain = 0.0
        self.nats.append(self.nats[-1] - gain)
        self.history.append(
            {
                "block": index + 1,
                "gain": gain,
                "valid": self.nats[-1],
                "marginal_before": before,
                "marginal_after": self.marginal,
                "dependence": float(self.left.value),
                "dependence_error": float(self.left.error),
                "seconds": time.perf_counter() - start,
            }
        )

    def stalled(self, patience: int) -> bool:
        """Whether the last ``patience`` blocks together bought less than the least gain."""
        return len(self.history) > patience and min(self.nats[1:-patience]) - min(self.nats[-patience:]) < MIN_GAIN

    def result(self) -> tuple[Flow, History]:
        """The flow up to its best block, and the history of all blocks."""
        best = min(range(len(self.history)), key=self.nats[1:].__getitem__)
        kept = {index: block for index, block in self.blocks.items() if index <= best}
        history = History({**record, "kept": record["block"] - 1 in kept} for record in self.history)
        return Flow(Chain(*kept.values())).eval(), history

    def _new_block(self, index: int) -> Transform:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        block = self.make_block(index, generator)
        if not isinstance(block, Transform):
            raise TypeError(f"grow wants make_block to return a Transform; got {type(block).__name__}.")
        if block.dim != self.train.dim:
            raise ValueError(f"grow wants blocks of dimension {self.train.dim}, as the rows are; got {block.dim}.")
        return block.to(dtype=self.train.dtype, device=self.train.device)

    def _push(self, index: int, block: Transform, held_out: Rows) -> None:
        self.train = self.train._onward(block) if self.owner else self.train.through(block)
        self.held_out = held_out
        self.owner, self.blocks[index] = True, block

    def write(self, path: PathLike) -> None:
        """Write the checkpoint; of several ranks, the first writes."""
        if isinstance(self.train, RankRows) and dist.get_rank():
            return
        tensors = {f"{i}.{k}": v for i, block in self.blocks.items() for k, v in block.state_dict().items()}
        write_checkpoint(path, tensors, self._meta(), kind="growth")

    def resume(self, path: PathLike) -> None:
        """Build the blocks of a checkpoint anew, give them their numbers, and push the rows through them."""
        tensors, meta = read_checkpoint(path, kind="growth")
        if meta.get("growth") != self.identity:
            raise ValueError(f"{path} is the checkpoint of other rows or another seed. Use another file, or delete it.")
        try:
            for i in meta["blocks"]:
                block = self._new_block(i)
                block.load_state_dict({k.split(".", 1)[1]: v for k, v in tensors.items() if k.startswith(f"{i}.")})
                self._push(i, block, gained_and_through(block, self.held_out)[1])
            self.nats, self.history = meta["nats"], History(meta["history"])
            self.marginal, self.left = marginals_and_dependence(self.train)
        except (KeyError, TypeError, RuntimeError) as error:
            raise ValueError(f"{path} does not fit these blocks [{error}]. Use another file, or delete it.") from error

    def _meta(self) -> dict[str, Any]:
        return {
            "growth": self.identity,
            "blocks": list(self.blocks),
            "nats": self.nats,
            "history": json.loads(self.history.to_json()),
        }

    def _identity(self) -> dict[str, Any]:
        """What must be the same in a growth that goes on from a checkpoint."""
        parts = (self.train, self.held_out)
        sums = [f"{float(part.sum(lambda x, c: (x.sum(),))[0]):.9g}" for part in parts]
        return {"seed": self.seed, "rows": [[part.n, part.dim, part.context_dim] for part in parts], "sums": sums}
