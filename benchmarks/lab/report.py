"""Pictures and one page of words, from the lines that a run has left."""

from __future__ import annotations

import traceback
from pathlib import Path

from benchmarks.lab.experiment import Experiment, Line
from benchmarks.lab.suite import failures_of, lines_of

DPI = 160


def write_report(experiments: list[Experiment], folder: Path) -> str:
    """Draw each experiment that has lines, write ``report.md`` beside the pictures, and return its text."""
    parts = [_section(each, folder) for each in experiments if (folder / f"{each.name}.jsonl").exists()]
    text = "\n\n".join(["# The convergence laboratory", *parts]) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(text, encoding="utf-8")
    return text


def _section(experiment: Experiment, folder: Path) -> str:
    lines, failures = lines_of(folder, experiment.name), failures_of(folder, experiment.name)
    parts = [f"## {experiment.name}: {experiment.question}"]
    if lines:
        parts += [_drawn(experiment, lines, folder), _told(experiment, lines), _origin(lines)]
    parts += [f"- Failed: `{line['case']}`: {line['failed']}" for line in failures]
    return "\n\n".join(parts)


def _drawn(experiment: Experiment, lines: list[Line], folder: Path) -> str:
    """Draw the picture; returns what stands in its place in the report."""
    from matplotlib import pyplot

    try:
        figure = experiment.draw(lines)
        figure.text(0.995, -0.01, _print(lines), ha="right", va="top", fontsize=6, color="0.5")
        figure.savefig(folder / f"{experiment.name}.png", dpi=DPI, bbox_inches="tight")
    except Exception:  # the other experiments have their pictures all the same
        return "The picture could not be drawn:\n\n```\n" + traceback.format_exc(limit=-3) + "```"
    finally:
        pyplot.close("all")
    return f"![{experiment.question}]({experiment.name}.png)"


def _told(experiment: Experiment, lines: list[Line]) -> str:
    try:
        return experiment.report(lines).strip()
    except Exception:
        return "The report could not be made:\n\n```\n" + traceback.format_exc(limit=-3) + "```"


def _print(lines: list[Line]) -> str:
    """The small print of a picture: which code it shows."""
    commits = ", ".join(dict.fromkeys(str(line.get("commit") or "no checkout") for line in lines))
    return f"gaussflow {commits}{' · quick run' if lines[0].get('quick') else ''}"


def _origin(lines: list[Line]) -> str:
    """What the figures were measured with, and what they cost."""
    seconds, peak = sum(line["seconds"] for line in lines), max(line["peak_mb"] for line in lines)
    machines = ", ".join(dict.fromkeys(line["machine"] for line in lines))
    tools = ", ".join(f"{k} {v}" for k, v in lines[-1]["versions"].items() if k in ("python", "torch", "numpy"))
    return (
        f"*{len(lines)} cases, {seconds:.0f} s of CPU, at most {peak:.0f} MiB each. {_print(lines)}; {tools}; "
        f"{lines[-1]['threads']} thread{'s' if lines[-1]['threads'] > 1 else ''}; {machines}.*"
    )
