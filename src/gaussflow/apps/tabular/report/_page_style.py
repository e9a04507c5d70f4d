"""The look of the page of a report: on a screen, on a telephone, in print."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light; --ink: #1f2937; --line: #d1d5db; --real: #9aa0a6; --drawn: #c2410c; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1rem 1.1rem 3rem; }
h1 { font-size: 1.7rem; margin: .6rem 0 .2rem; line-height: 1.2; }
h2 { font-size: 1.3rem; margin: 2.2rem 0 .5rem; padding-top: .8rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1rem 0 .3rem; }
p, li, dd { max-width: 46rem; }
.key span { display: inline-block; width: .9rem; height: .9rem; margin: 0 .2rem 0 .6rem; vertical-align: -.1rem; }
.key .real, .real { background: var(--real); }
.key .drawn { background: #fff; border: 2px solid var(--drawn); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1rem; }
.card { border: 1px solid var(--line); border-left: .4rem solid; border-radius: .4rem; padding: .4rem 1rem .8rem; }
.card ul { list-style: none; margin: 0; padding: 0; }
.card li { margin: .7rem 0; }
.answer { font-size: 1.25rem; font-weight: 600; margin: .1rem 0 .4rem; }
.card.g0 { border-left-color: #15803d; } .card.g1 { border-left-color: #6b7280; }
.card.g2 { border-left-color: #b45309; } .card.g3 { border-left-color: #b91c1c; }
li.g0 b { color: #166534; } li.g1 b { color: #4b5563; } li.g2 b { color: #92400e; } li.g3 b { color: #991b1b; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); gap: .8rem 1.2rem;
margin: 1rem 0; }
.grid.one { grid-template-columns: minmax(0, 34rem); }
figure { margin: 0; break-inside: avoid; }
figure img { width: 100%; height: auto; display: block; }
figcaption { font-size: .88rem; color: #374151; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .88rem; width: 100%; }
caption { text-align: left; font-size: .88rem; color: #4b5563; padding-bottom: .3rem; }
th, td { text-align: left; padding: .28rem .7rem .28rem 0; border-bottom: 1px solid #e5e7eb; vertical-align: top; }
thead th { border-bottom: 2px solid var(--line); font-weight: 600; }
td { white-space: nowrap; }
tbody th { font-weight: 500; overflow-wrap: anywhere; min-width: 6rem; }
.note { border-left: .3rem solid #6b7280; background: #f3f4f6; padding: .6rem .9rem; }
dt { font-weight: 600; margin-top: .5rem; } dd { margin: 0; }
footer { margin-top: 2.5rem; color: #6b7280; font-size: .85rem; }
@page { margin: 15mm 14mm; }
@media print {
  :root { font-size: 13px; } body { font-size: 10pt; line-height: 1.45; } main { max-width: none; padding: 0; }
  .key span, .card, .note { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  h2, h3, caption, thead, dt { break-after: avoid; } dd { break-before: avoid; }
  tr, li, dd, .note { break-inside: avoid; }
  .wide { overflow: visible; } p { orphans: 3; widows: 3; } footer { margin-top: 1rem; }
  .grid, .cards { grid-template-columns: 1fr 1fr; }
}
"""
