"""The page of a report: one file of HTML with its pictures in it, for readers who are no statisticians."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussflow._version import __version__
from gaussflow.apps.tabular.report import _page_words as words
from gaussflow.apps.tabular.report._beside import Kind, mean_and_spread
from gaussflow.apps.tabular.report._findings import Finding, is_odd, is_odd_pair, odd_gaps, percent
from gaussflow.apps.tabular.report._page_pictures import (
    association_picture,
    column_picture,
    pair_picture,
    scale_picture,
)
from gaussflow.apps.tabular.report._page_style import STYLE

if TYPE_CHECKING:
    from gaussflow.apps.tabular.report._table_report import TableReport

SIGNS = ("✓", "?", "!", "✗")
MOST_PICTURES = 60
MOST_PAIRS = 12


def page(report: TableReport) -> str:
    """The whole page."""
    parts = [
        _head(report),
        _verdict(report),
        _columns(report),
        _pairs(report),
        _told(report),
        _learnt(report),
        _privacy(report),
        f"<section><h2>What this report does not say</h2>{words.LIMITS}</section>",
        f"<section><h2>Words</h2>{words.WORDS}</section>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Synthetic table: report</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(part for part in parts if part)
        + f"\n<footer>Made by gaussflow {__version__}.</footer>\n</main></body></html>\n"
    )


def say(value: object) -> str:
    """Text that cannot be taken for HTML."""
    return html.escape(str(value))


def _head(report: TableReport) -> str:
    held = (
        f" and {report.rows_held_out:,} real rows that the fit did not see, by which it is judged"
        if report.rows_held_out
        else "; no real rows were kept from the fit"
    )
    return (
        "<header><h1>Synthetic table: report</h1>"
        f"<p>{report.rows_drawn:,} synthetic rows of {len(report.columns)} columns, beside {report.rows:,} real rows "
        f"that the model was fitted to{held}.</p>"
        '<p class="key"><span class="real"></span> real <span class="drawn"></span> synthetic</p></header>'
    )


def _verdict(report: TableReport) -> str:
    cards = [
        _card("Is it like the real table?", report.likeness, ("It is", "Mostly", "Not in everything", "Not enough")),
        _card(
            "Does it give patients away?",
            report.privacy,
            ("Not that we see", "It cannot be said", "A little", "It does"),
        ),
    ]
    return f'<section><h2>In short</h2><div class="cards">{"".join(cards)}</div></section>'


def _card(question: str, findings: Sequence[Finding], answers: tuple[str, ...]) -> str:
    grade = max(finding.grade for finding in findings)
    lines = "".join(
        f'<li class="g{f.grade}"><b><span aria-hidden="true">{SIGNS[f.grade]}</span> {f.word}.</b> {say(f.text)}</li>'
        for f in findings
    )
    return (
        f'<div class="card g{grade}"><h3>{question}</h3><p class="answer">{answers[grade]}.</p><ul>{lines}</ul></div>'
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    """Cells that are HTML already; the first of a row is its head."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>" for row in rows
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{say(caption)}"><table><caption>{say(caption)}'
        f"</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _figure(source: str, alt: str, caption: str) -> str:
    return f'<figure><img src="{source}" alt="{say(alt)}"><figcaption>{caption}</figcaption></figure>'


def _summary(kind: Kind, x: Any) -> str:
    """A column in a few words: mean and standard deviation, median of times, or its commonest category."""
    held = x[~np.isnan(x)]
    if not len(held):
        return "no value"
    if kind.category:
        counts = np.bincount(held.astype(int), minlength=len(kind.levels))
        return f"{kind.show(float(counts.argmax()))}: {percent(counts.max() / len(held))}"
    if kind.kind == "time":
        return f"about {kind.show(float(np.round(np.median(held))))}"
    middle, spread = mean_and_spread(held)
    return f"{kind.show(middle)} ± {kind.show(spread)}"


def _columns(report: TableReport) -> str:
    tables = report.tables
    if tables is None:
        return ""
    rows, figures = [], []
    for j, (kind, check) in enumerate(zip(tables.kinds, report.columns, strict=True)):
        real, drawn = tables.every[:, j], tables.drawn[:, j]
        texts = [_summary(kind, x) for x in (real, drawn)]
        apart = "–" if check.apart is None else percent(check.apart)
        mark = "differs" if is_odd(check) else "alike" if check.apart is not None else "cannot be said"
        gaps = f"{percent(check.missing)} | {percent(check.missing_drawn)}" + (" (differs)" if odd_gaps(check) else "")
        rows.append([say(kind.name), *map(say, texts), apart, percent(check.chance), mark, gaps])
        picture = column_picture(kind, real, drawn) if j < MOST_PICTURES else None
        if picture:
            alt = f"Distribution of {kind.name}. Real: {texts[0]}. Synthetic: {texts[1]}."
            caption = f"<b>{say(kind.name)}</b>: {apart} of the rows would have to change"
            figures.append(_figure(picture, alt, caption + (" (<em>differs</em>)" if is_odd(check) else "")))
    more = len(tables.kinds) - MOST_PICTURES
    note = f"<p>Pictures of the first {MOST_PICTURES} columns; {more} more are in the table.</p>" if more > 0 else ""
    head = (
        "column",
        "real",
        "synthetic",
        "would have to change",
        "by chance up to",
        "reads as",
        "missing, real | synthetic",
    )
    return (
        f"<section><h2>Each column</h2><p>{words.COLUMNS}</p>{_table(head, rows, 'Each column, real and synthetic')}"
        f'<div class="grid">{"".join(figures)}</div>{note}</section>'
    )


def _pairs(report: TableReport) -> str:
    tables = report.tables
    if tables is None or not report.pairs:
        return ""
    ordered = sorted(report.pairs, key=lambda pair: -pair.apart)
    rows = [
        [
            f"{say(p.first)} and {say(p.second)}",
            f"{p.real:.2f}",
            f"{p.drawn:.2f}",
            f"{p.apart:.2f}",
            "differs" if is_odd_pair(p) else "may be chance",
        ]
        for p in ordered[:MOST_PAIRS]
    ]
    places = {str(kind.name): j for j, kind in enumerate(tables.kinds)}
    drawn = [p for p in ordered if p.first in places and p.second in places][:4]
    figures = [
        _figure(
            pair_picture(tables, places[p.first], places[p.second]),
            f"{p.first} against {p.second}, real rows left, synthetic rows right.",
            f"<b>{say(p.first)}</b> and <b>{say(p.second)}</b>: {p.real:.2f} real, {p.drawn:.2f} synthetic",
        )
        for p in drawn
    ]
    heat = _figure(
        association_picture(report.paired, report.pairs),
        "How strongly each pair of columns hangs together; alike on both sides of the diagonal where the tables are.",
        "How strongly each pair hangs together. The two halves should mirror each other.",
    )
    head = ("pair", "real", "synthetic", "difference", "reads as")
    return (
        f'<section><h2>Each pair of columns</h2><p>{words.PAIRS}</p><div class="grid one">{heat}</div>'
        f"{_table(head, rows, 'The pairs that differ most')}"
        f'<h3>The pairs of values that differ most</h3><div class="grid">{"".join(figures)}</div></section>'
    )


def _told(report: TableReport) -> str:
    if report.boosted is None or report.logistic is None:
        return f"<section><h2>Can a computer tell them apart?</h2><p>{words.FEW}</p></section>"
    both = (report.boosted, report.logistic)
    marks = [(name, told.area, told.error) for name, told in zip(("boosted trees", "straight line"), both, strict=True)]
    if report.fresh is not None:
        marks.append(("fresh real rows", report.fresh.area, report.fresh.error))
    high = max(0.8, *(m[1] + 2 * m[2] for m in marks)) + 0.02
    low = min(0.4, *(m[1] - 2 * m[2] for m in marks)) - 0.02
    alt = "; ".join(f"{name}: {value:.2f}" for name, value, _ in marks)
    picture = _figure(
        scale_picture(marks, low, min(1.05, high), "share of pairs told right; 0.5 is guessing"),
        f"How often the synthetic row of a pair is found. {alt}.",
        "With the range that chance leaves (19 times of 20).",
    )
    by = "".join(f"<li>{say(name)}: without it {100 * lost:.0f} fewer of 100</li>" for name, lost in report.boosted.by)
    listed = f"<p>What gives them away most:</p><ul>{by}</ul>" if by else "<p>No single column gives them away.</p>"
    fresh = words.FRESH if report.fresh is not None else words.NOT_FRESH
    return (
        f"<section><h2>Can a computer tell them apart?</h2><p>{words.TOLD} {fresh}</p>"
        f'<div class="grid one">{picture}</div>{listed}</section>'
    )


def _learnt(report: TableReport) -> str:
    learnt = report.learnt
    if learnt is None:
        return f"<section><h2>Can one learn from it?</h2><p>{words.NOTHING_LEARNT}</p></section>"
    why = " (a column that seemed fit; choose your own with <code>target</code>)" if learnt.suggested else ""
    judged = (
        "patients that neither has seen"
        if report.rows_held_out is not None
        else "one half of the real rows, which the synthetic rows were fitted to: the comparison is kind to them"
    )
    marks = [("from synthetic rows", learnt.drawn, 0.0), ("from real rows", learnt.real, 0.0)]
    low = min(0.45, learnt.real, learnt.drawn) - 0.02
    picture = _figure(
        scale_picture(marks, low, 1.02, "how often a yes is put above a no; 0.5 is guessing"),
        f"From synthetic rows {learnt.drawn:.2f}, from real rows {learnt.real:.2f}.",
        f"Difference {100 * learnt.gap:.1f} of 100, sure to ± {200 * learnt.gap_error:.1f}.",
    )
    return (
        f"<section><h2>Can one learn from it?</h2><p>Two models learn the answer to “{say(learnt.question)}”{why} from "
        f"the other columns: one from the real rows, one from as many synthetic rows. Both are tried on {judged}. If "
        f"they do equally well, studies on the synthetic table should find what they would find on the real one.</p>"
        f'<div class="grid one">{picture}</div></section>'
    )


def _privacy(report: TableReport) -> str:
    found, rows = report.exposure, []
    for what, share, ideal in (
        ("synthetic rows nearer to a fitted patient than to another", found.nearer, "50 %"),
        ("fitted patients recognised by nearness", found.member, "50 %"),
        ("synthetic rows nearer to a patient than half of the patients are to another", found.crowded, "about 50 %"),
        ("synthetic rows equal to a real row", found.copies, percent(found.copies_by_chance.value)),
    ):
        if share is not None:
            rows.append([what, f"{percent(share.value)} ± {200 * share.error:.1f}", ideal])
    if found.alone:
        chance = "needs rows held out" if found.again_by_chance is None else percent(found.again_by_chance)
        rows.append(["rare combinations of values that come again", percent(found.again), chance])
    missing = "" if report.rows_held_out is not None else words.NONE_HELD
    nats = ""
    if report.nats is not None:
        own, other = report.nats
        unseen = f", of those held out {other:.2f}" if other is not None else ""
        nats = (
            f"<p>The model's mean log-probability of the rows fitted is {own:.2f} nats a row{unseen}; a model "
            "that learns patients by heart has a far higher one for the rows fitted.</p>"
        )
    head = ("what", "found (± 19 times of 20)", "without any leak")
    return (
        f"<section><h2>Does it give patients away?</h2><p>{words.NEAR}</p>{missing}"
        f"{_table(head, rows, 'What the synthetic rows give away')}"
        f"<p>Rare combinations: {percent(found.alone)} of the real rows are the only ones with some combination of two "
        f"or three values, numbers taken in twenty classes. {words.RARE}</p>{nats}</section>"
    )
