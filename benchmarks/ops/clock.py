"""Time and memory of calls on a machine that others use too: interleaved, and the least of many."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

Call = Callable[[], Any]
COPIED = 2**24  # numbers copied to measure the bandwidth: 64 MiB from and to, far beyond the caches


def interleaved(
    calls: Mapping[str, Call],
    seconds: float,
    fewest: int = 3,
    most: int = 200,
    first: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """The least CPU seconds of each call, all called in turn until ``seconds`` are over.

    What else the machine does can only add to a time, through caches and memory, and in turns it adds to all alike.
    Every second turn goes backwards: the call before leaves caches as it pleases, and inputs that some share.
    The first round warms up; a call that takes longer than a third of the time is called twice, or once where it takes
    tens of seconds. ``first`` are the CPU seconds of a first call that was made already.
    """
    first = first or {}
    times: dict[str, list[float]] = {n: [first[n] if n in first else timed(call)] for n, call in calls.items()}
    for name, call in calls.items():  # a first call may load a library: a second one tells whether it is slow
        if seconds / 3 < times[name][0] < 10 * seconds:
            times[name] = [timed(call)]
    again = {name: call for name, call in calls.items() if times[name][0] < seconds / 3}
    start = time.perf_counter()
    for round_ in range(most if again else 0):
        if round_ >= fewest and time.perf_counter() - start > seconds:
            break
        for name, call in list(again.items())[:: -1 if round_ % 2 else 1]:
            times[name].append(timed(call))
    return {name: min(taken[1:] or taken) for name, taken in times.items()}


def timed(call: Call) -> float:
    """The CPU seconds of one call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def copy_call() -> tuple[Call, int]:
    """A copy of memory, and the bytes that it reads and writes."""
    source = torch.zeros(COPIED)
    target = torch.zeros(COPIED)
    return lambda: target.copy_(source), 2 * COPIED * source.element_size()


def product_call(rows: int, dim: int) -> tuple[Call, int]:
    """The product of ``rows`` by a square matrix, written in place, and its operations."""
    x, q, out = torch.randn(rows, dim), torch.randn(dim, dim), torch.empty(rows, dim)
    return lambda: torch.mm(x, q, out=out), 2 * rows * dim * dim


def peak_bytes(call: Call) -> int:
    """The bytes of `peak_and_seconds`."""
    return peak_and_seconds(call)[0]


def peak_and_seconds(call: Call) -> tuple[int, float]:
    """The most memory that torch held at a time on behalf of a call, its results included.

    With it come the CPU seconds of this first call, watched. Counted from the allocations that torch's profiler sees on
    the CPU; memory that was there before is not counted.
    """
    gc.collect()  # what earlier calls left in circles, and freed during this one, would be taken off its own
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        seconds = timed(call)
    events = watched.profiler.kineto_results.events()
    held = peak = 0
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak, seconds
