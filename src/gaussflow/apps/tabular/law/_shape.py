"""How the law of values differs in shape from row to row: what shares of the normal law its parts have, by features."""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr, ndtri, ndtri_exp

from gaussflow.apps.tabular._arrays import Floats, Integers

FARTHEST = 1e5  # on the normal axis, beyond which shares do not matter


def tilted(z: Floats, shares: Floats) -> tuple[Floats, Floats]:
    r"""Values z (n,) on the normal axis where B parts of equal mass have shares (n, B), and the log-slopes there.

    With :math:`u = \Phi(z)` in part b, :math:`u' = s_1 + \dots + s_{b-1} + s_b (B u - b + 1)` and
    :math:`z' = \Phi^{-1}(u')`. Each half is counted from its own tail, so that no digit is lost there.
    """
    if shares.shape[1] == 1:
        return z, np.zeros(len(z))
    shares = _from_tail(z, shares)
    log_u = log_ndtr(-np.abs(z))
    u = np.exp(log_u) * shares.shape[1]
    part = np.minimum(u.astype(np.int64), shares.shape[1] - 1)
    own, below = _of(part, shares)
    log_told = np.where(part == 0, log_u, 0.0) + np.log(own * shares.shape[1])
    told = np.where(part == 0, _normal(log_told), ndtri(below + own * (u - part)))
    far = np.abs(z) > FARTHEST
    told = np.where(far, -np.abs(z), told)
    log_slope = 0.5 * (told - z) * (told + z) + np.log(own * shares.shape[1])
    return np.where(z > 0, -told, told), np.where(far, 0.0, log_slope)


def untilted(z: Floats, shares: Floats) -> Floats:
    """The values (n,) that `tilted` takes to z (n,)."""
    if shares.shape[1] == 1:
        return z
    shares = _from_tail(z, shares)
    log_told = log_ndtr(-np.abs(z))
    told = np.exp(log_told)
    part: Integers = (told[:, None] >= np.cumsum(shares, 1)[:, :-1]).sum(1)
    own, below = _of(part, shares)
    first = _normal(log_told - np.log(own * shares.shape[1]))
    u = (part + (told - below) / own) / shares.shape[1]
    found = np.where(part == 0, first, ndtri(u))
    found = np.where(np.abs(z) > FARTHEST, -np.abs(z), found)
    value: Floats = np.where(z > 0, -found, found)
    return value


def _from_tail(z: Floats, shares: Floats) -> Floats:
    """The shares (n, B) counted from the tail that z (n,) is nearer to."""
    return np.where(z[:, None] > 0, shares[:, ::-1], shares)


def _of(part: Integers, shares: Floats) -> tuple[Floats, Floats]:
    """The shares (n,) of the parts (n,), and of all before them."""
    rows = np.arange(len(part))
    own = shares[rows, part]
    return own, np.cumsum(shares, 1)[rows, part] - own


def _normal(log_u: Floats) -> Floats:
    """The quantile (n,) of a probability whose logarithm is given."""
    told: Floats = np.where(log_u < -1e-3, ndtri_exp(np.minimum(log_u, -1e-3)), ndtri(np.exp(np.minimum(log_u, 0.0))))
    return told
