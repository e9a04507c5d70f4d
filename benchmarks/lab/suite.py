"""Runs the experiments case by case, each in a process of its own, and goes on where it was stopped."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.apart import Call, Failed, Meter, apart
from benchmarks.lab import blocks, couplings, hybrids, methods, parts, scaling, spurious, training
from benchmarks.lab.experiment import Case, Experiment, Line, Setting
from benchmarks.measure import commit, machine, versions
from benchmarks.report import append, read

# In the order of the report.
EXPERIMENTS: list[Experiment] = [
    blocks.EXPERIMENT,
    couplings.EXPERIMENT,
    parts.EXPERIMENT,
    spurious.EXPERIMENT,
    scaling.EXPERIMENT,
    hybrids.EXPERIMENT,
    training.EXPERIMENT,
    methods.EXPERIMENT,
]


@dataclass(frozen=True)
class Run:
    """What is to be measured, and how.

    Attributes
    ----------
    folder
        Where the lines are: one file for each experiment.
    setting
        How much is measured, and on what.
    jobs
        Cases measured at once.
    limit
        Wall seconds after which a case is given up.
    """

    folder: Path
    setting: Setting
    jobs: int = 1
    limit: float = 900.0


def label(case: Case) -> str:
    """The case in words: its key in the file, and what the progress bar says."""
    return " ".join(f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in case.items())


def lines_of(folder: Path, name: str) -> list[Line]:
    """The lines of an experiment in a folder, the last of each case, those without a result left out.

    They are in the order of the cases, which is not that of the file where several were measured at once.
    """
    return [line for line in _last_lines(folder, name) if "failed" not in line]


def failures_of(folder: Path, name: str) -> list[Line]:
    """The last line of each case that has only failed so far."""
    return [line for line in _last_lines(folder, name) if "failed" in line]


def _last_lines(folder: Path, name: str) -> list[Line]:
    held = {line["case"]: line for line in read(folder / f"{name}.jsonl") if "case" in line}
    return sorted(held.values(), key=lambda line: int(line.get("order", 0)))


def measure_all(experiments: list[Experiment], run: Run) -> int:
    """Measure the cases that the folder lacks, a line appended as each ends; returns how many failed."""
    from tqdm import tqdm

    _check_kind(run)
    todo = [(each, order, case) for each in experiments for order, case in _missing(each, run)]
    if not todo:
        return 0
    with_what: Line = {"commit": commit(), "versions": versions(), "machine": machine()}
    with_what |= {"threads": run.setting.threads, "quick": run.setting.quick}
    failed = 0
    with tqdm(total=len(todo), unit="case", disable=not sys.stderr.isatty()) as bar:

        def calls() -> Iterator[Call]:
            for experiment, _, case in todo:
                bar.set_description(f"{experiment.name} {label(case)}")
                yield partial(measure_case, experiment, case, run.setting)

        for index, found in apart(calls(), jobs=run.jobs, threads=run.setting.threads, limit=run.limit):
            experiment, order, case = todo[index]
            line: Line = {"experiment": experiment.name, "case": label(case), "order": order, **case}
            line |= {"failed": found.message} if isinstance(found, Failed) else found
            append(run.folder / f"{experiment.name}.jsonl", line | with_what)
            if isinstance(found, Failed):
                failed += 1
                tqdm.write(f"{experiment.name} {label(case)}: {found.message}", file=sys.stderr)
            bar.update()
    return failed


def measure_case(experiment: Experiment, case: Case, setting: Setting) -> dict[str, Any]:
    """What a case gives, with the seconds and the memory it took."""
    meter = Meter()
    found = experiment.measure(case, setting)
    return {**found, **meter.read()}


def _missing(experiment: Experiment, run: Run) -> list[tuple[int, Case]]:
    """The cases without a result, each with its place among all."""
    done = {line["case"] for line in lines_of(run.folder, experiment.name)}
    return [(i, case) for i, case in enumerate(experiment.cases(run.setting)) if label(case) not in done]


def _check_kind(run: Run) -> None:
    """Quick figures and full ones must not be drawn as one."""
    for file in run.folder.glob("*.jsonl"):
        if any(line.get("quick", run.setting.quick) != run.setting.quick for line in read(file)):
            kinds = ("full", "quick") if run.setting.quick else ("quick", "full")
            raise SystemExit(
                f"{run.folder} holds the lines of a {kinds[0]} run: give the {kinds[1]} one another --out."
            )
