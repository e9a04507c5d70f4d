"""The hybrid: marginals, mixtures and rotations fitted in closed form, each block of the kind that buys most."""

from __future__ import annotations

import time
from typing import NamedTuple

from tqdm import tqdm

from gaussflow._check import check_int
from gaussflow.models.dequantized import Dequantized
from gaussflow.models.flow import Flow
from gaussflow.recipes._discrete import UniformNoise, check_continuous, rounding_steps
from gaussflow.recipes._kinds import FURTHER, Fit, first
from gaussflow.rows import Data, Rows, as_rows
from gaussflow.training._held_out import held_out_from
from gaussflow.training._history import History
from gaussflow.training._measures import gain_and_error, normal_nats
from gaussflow.transforms.base import Chain, Transform

MIN_GAIN = 5e-3  # nats a row for which a block is worth its place
NEARLY = 0.9  # of the most nats that a block buys: the first of the kinds to buy so many is taken
STANDARD_ERRORS = 1.5  # and by so many the gain has to be sure: one far row alone gains its own standard error
MOST_BLOCKS = 40
TRIES = {"marginals": 1, "subspaces": 1, "mixture": 1, "radial": 1, "turn": 3}  # a turn may go the wrong way
BEHIND = 2**15  # rows that what comes behind a mixture is fitted to: little is left, and every row meets each component
REFITTED = 2**13  # up to so many rows the blocks are fitted again with the rows held out among them


def hybrid(
    x: Data, *, valid: Data | None = None, dequantize: bool = False, seed: int = 0, progress: bool = True
) -> tuple[Flow | Dequantized, History]:
    r"""A density fitted in closed form: marginals first, then blocks of whatever kind buys the most held-out nats.

    .. math:: f = f_L \circ \dots \circ f_2 \circ g

    where g is a `MarginalSpline` with as many knots as the rows can tell of, unless held-out rows like another first
    block better: a mixture or a radial map, as below, or, with up to 256 coordinates, `independent_subspaces`, a
    `MixtureTransport` for each group of their axes, and marginals. Each further :math:`f_l` is one of

    - a mixture: a `MixtureTransport`, which follows dependence of any shape, and the context where there is some;
    - radial: `Whiten` and a `RadialSpline`, which take what the scales of all coordinates have in common; or
    - a turn: `Whiten`, a `sliced_rotation`, whose directions other rows have confirmed, and a `MarginalSpline`.

    At each step a block of every kind is fitted to what the blocks before it leave. The one that buys most on the rows
    held out stays; of two that buy as much to a tenth, the one that is had sooner. A mixture that buys nothing is
    not tried again, nor are turns when three in a row bought nothing; then the flow is done, with nothing to choose.
    (Nats for each second alone are not what is compared: a turn is had in a moment, and where it stands in the place of
    a much better mixture, what it bought is lost again.)

    With up to 8,192 rows, and no ``valid`` given, the blocks are fitted once more to all the rows.

    Parameters
    ----------
    x
        Data: a tensor (N, D), a re-iterable of chunks, or a `Rows`; ``as_rows(x, context)`` for the density given a
        context. The flow has its dtype.
    valid
        Held-out rows; None holds out about a tenth of the rows, chosen by the seed.
    dequantize
        Whether columns of few distinct values, or with a value that many rows share, are taken as rounded: the flow is
        then fitted to the rows plus uniform noise of one rounding step, and the log-probability is that of the steps.
        Without, such columns are refused, as they have no density.
    seed
        Decides what is random: rows held out, starts, noise.
    progress
        Whether to show a progress bar on stderr.

    Returns
    -------
    flow, history
        A `Flow`, or a `Dequantized` one where that was asked for; and one record for each block that was tried: block,
        kind, kept, gain and gain_error (held-out nats that it buys), valid (the negative log-density that it leaves, or
        log-mass, nats per row), seconds.

    Raises
    ------
    TypeError, ValueError
        For what `as_rows` refuses, missing values among it, for too few rows to hold some out, and for discrete columns
        unless dequantisation is asked for.

    Notes
    -----
    Source: Chen & Gopinath (2000) for the blocks; the mixture as a block, its bag, and the choice are of this library.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import hybrid
    >>> z = torch.randn(500, 2)
    >>> x = torch.stack([z[:, 0], z[:, 0].square() + 0.1 * z[:, 1]], 1)
    >>> flow, history = hybrid(x, progress=False)
    >>> flow.log_prob(x).shape, flow.sample(7).shape
    (torch.Size([500]), torch.Size([7, 2]))
    """
    check_int("hybrid", "seed", seed, 0)
    rows, steps, volume = as_rows(x), None, 0.0
    held_out = None if valid is None else as_rows(valid)
    if dequantize:
        steps, origins = rounding_steps(rows)
        noise, volume = UniformNoise(steps, seed), float(steps[steps > 0].log().sum())
        rows = rows.through(noise)
        held_out = None if held_out is None else held_out.through(noise)
    else:
        check_continuous("hybrid", rows)
    search = Search(*held_out_from("hybrid", rows, held_out, seed), seed, volume)
    with tqdm(desc="hybrid", unit="block", disable=not progress) as bar:
        while search.step():
            bar.set_postfix(valid=f"{search.nats:.4g}")
            bar.update()
    chain = Chain(*(search.blocks if held_out is not None or rows.n > REFITTED else search.refitted(rows)))
    flow = Flow(chain).eval()
    return (flow if steps is None else Dequantized(flow, steps, origins)), search.history


class Trial(NamedTuple):
    """A fitted block, and what it buys on the rows held out."""

    kind: str
    block: Transform
    gain: float
    error: float
    seconds: float
    seed: int

    @property
    def pays(self) -> bool:
        """Whether the block is worth its place."""
        return self.gain > MIN_GAIN + STANDARD_ERRORS * self.error


class Search:
    """The blocks so far, what enters the next one, and which kinds are still tried.

    ``volume`` is the log-volume of the steps that rows are rounded to: density times volume is mass.
    """

    def __init__(self, train: Rows, held_out: Rows, seed: int, volume: float = 0.0) -> None:
        self.train, self.held_out, self.seed = train, held_out, seed
        self.kinds: dict[str, Fit] = dict(FURTHER)  # the order decides, no clock
        self.blocks: list[Transform] = []
        self.made: list[tuple[Fit, int]] = []
        self.tries = dict(TRIES)
        self.nats, self.history = normal_nats(held_out) - volume, History()

    def step(self) -> bool:
        """Add the first block, or that of the kind that buys most; False where none pays."""
        kinds: dict[str, Fit] = self.kinds if self.blocks else first(self.train, self.seed)
        trials = [self._tried(kind, fit) for kind, fit in kinds.items()]
        most = max((trial.gain for trial in trials), default=0.0)
        nearly = most - (1 - NEARLY) * abs(most)
        best = next((trial for trial in trials if trial.gain >= nearly), None)
        chosen = best if best is not None and (best.pays or not self.blocks) else None
        for trial in trials:
            self._record(trial, trial is chosen)
            self.tries[trial.kind] = TRIES[trial.kind] if trial.pays else self.tries[trial.kind] - 1
        self.kinds = {kind: fit for kind, fit in self.kinds.items() if self.tries[kind] > 0}
        if chosen is not None:
            self._add(chosen, kinds[chosen.kind])
        return bool(self.kinds) and len(self.blocks) < MOST_BLOCKS

    def _add(self, chosen: Trial, fit: Fit) -> None:
        """Take the block, and send the rows through it; a kind that failed before may do better behind it."""
        self.made.append((fit, chosen.seed))
        self.blocks.append(chosen.block)
        if chosen.kind in ("mixture", "subspaces") and self.train.n > BEHIND:
            self.train = as_rows(*self.train.sample(BEHIND, self.seed))
        self.train, self.held_out = (rows.through(chosen.block) for rows in (self.train, self.held_out))
        self.nats -= chosen.gain

    def refitted(self, rows: Rows) -> list[Transform]:
        """Blocks of the same kinds fitted to other rows."""
        blocks: list[Transform] = []
        for fit, seed in self.made:
            blocks.append(fit(rows, seed))
            if len(blocks) < len(self.made):
                rows = rows.through(blocks[-1])
        return blocks

    def _tried(self, kind: str, fit: Fit) -> Trial:
        start, seed = time.perf_counter(), self.seed + len(self.history)
        block = fit(self.train, seed)
        return Trial(kind, block, *gain_and_error(block, self.held_out), time.perf_counter() - start, seed)

    def _record(self, trial: Trial, kept: bool) -> None:
        record = {"block": len(self.blocks) + 1, "kind": trial.kind, "kept": kept, "gain": trial.gain}
        record |= {"gain_error": trial.error, "valid": self.nats - trial.gain, "seconds": trial.seconds}
        self.history.append(record)
