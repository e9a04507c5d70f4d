"""Calls in processes of their own: memory is each call's own, a crash or a call without end costs that one alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

Call = Callable[[], Any]  # to be sent to another process: a function of a module, or a partial of one
POOLS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

# What takes long to import; a package that is absent is passed over.
PRELOADED = ["torch", "benchmarks.registry", "scipy.stats", "sklearn.mixture", "zuko.flows"]


@dataclass(frozen=True)
class Failed:
    """Why a call gave no result."""

    message: str


class Meter:
    """CPU and wall seconds, and how far the resident memory of this process rises, from now on."""

    def __init__(self) -> None:
        _reset_peak()
        self.memory, self.wall, self.cpu = _status("VmRSS"), time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """``seconds`` of CPU, ``wall`` seconds, and ``peak_mb`` in MiB."""
        seconds, wall = time.process_time() - self.cpu, time.perf_counter() - self.wall
        return {"seconds": seconds, "wall": wall, "peak_mb": _status("VmHWM") - self.memory}


@dataclass
class _Running:
    index: int
    process: Any
    receiver: Connection
    end: float


def apart(
    calls: Iterable[Call], *, jobs: int = 1, threads: int = 1, limit: float = 600.0
) -> Iterator[tuple[int, Any | Failed]]:
    """Yield (index, result) of each call as it ends, each from a fresh process, so many of them at once.

    ``calls`` is asked for the next one when a process is free for it. A call that raises, whose process dies, or that
    takes more than ``limit`` seconds of wall time gives `Failed`. Closing the iterator ends what still runs.

    Where there is a fork server the processes are copies of one that has torch imported: a start takes milliseconds.
    """
    for name in POOLS:
        os.environ[name] = str(threads)
    context = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    if hasattr(context, "set_forkserver_preload"):
        context.set_forkserver_preload(PRELOADED)
    queue, running = enumerate(calls), list[_Running]()
    try:
        while True:
            while len(running) < jobs and (asked := next(queue, None)):
                running.append(_start(context, *asked, threads, limit))
            if not running:
                return
            for call in _ended(running):
                running.remove(call)
                yield call.index, _result(call, limit)
    finally:
        for call in running:
            call.process.kill()
            call.process.join()


def _start(context: Any, index: int, call: Call, threads: int, limit: float) -> _Running:
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(sender, call, threads))
    process.start()
    sender.close()
    return _Running(index, process, receiver, time.monotonic() + limit)


def _serve(sender: Connection, call: Call, threads: int) -> None:
    """What a process does: the call, and its result or what went wrong into the pipe."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    torch.set_num_threads(threads)
    try:
        result = call()
    except Exception as error:
        result = Failed(f"{type(error).__name__}: {error}"[:300])
    sender.send(result)
    sender.close()


def _ended(running: list[_Running]) -> list[_Running]:
    """Those that have something to say or are over their time; waits until there is one."""
    ready = wait([call.receiver for call in running], max(0.0, min(call.end for call in running) - time.monotonic()))
    now = time.monotonic()
    return [call for call in running if call.receiver in ready or call.end <= now]


def _result(call: _Running, limit: float) -> Any | Failed:
    try:
        if not call.receiver.poll():
            return Failed(f"ended after {limit:.0f} s")
        result = call.receiver.recv()
        call.process.join(30)  # it ends by itself now, and tidies up
        return result
    except EOFError:
        return Failed("the process ended without a result")
    finally:
        call.process.kill()
        call.process.join()
        call.receiver.close()


def _status(key: str) -> float:
    """A memory figure of this process in MiB, from /proc; NaN becomes None in JSON, so 0 stands for unknown."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith(key)), 0.0)


def _reset_peak() -> None:
    """Forget the highest memory so far (Linux only)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return
