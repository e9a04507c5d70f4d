"""Formulas as MathML, which browsers draw themselves: no script, no font and no network is needed to read a page."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert

INLINE = re.compile(r"\\\((.*?)\\\)", re.DOTALL)
DISPLAY = re.compile(r"\\\[(.*?)\\\]", re.DOTALL)
# What marks a formula in pages of mkdocs (arithmatex) and of Sphinx (math).
HOLDER = re.compile(r'<(span|div) class="(?:arithmatex|math[^"]*)">(.*?)</\1>', re.DOTALL)
UPRIGHT = re.compile(r"<mi>(log|det|tanh|sinh|cosh|exp|max|min|arcsinh)</mi>")


def with_mathml(page: str) -> str:
    """The HTML of a page, each formula in TeX replaced by MathML."""
    return HOLDER.sub(_formula, page)


def _formula(match: re.Match[str]) -> str:
    tag, text = match.groups()
    if found := DISPLAY.search(text):
        return f'<div class="formula">{mathml(found[1], "block")}</div>'
    if found := INLINE.search(text):
        return mathml(found[1], "inline")
    raise ValueError(f"a formula without delimiters: <{tag}> {text!r}")


def mathml(tex: str, display: str) -> str:
    """One formula, from TeX as it stands in HTML."""
    tex = html.unescape(tex).strip().replace(r"\tfrac12", r"\tfrac{1}{2}")
    tex = re.sub(r"\\begin\{split\}(.*)\\end\{split\}", r"\\begin{aligned}\1\\end{aligned}", tex, flags=re.DOTALL)
    out = convert(tex, display=display)
    out = UPRIGHT.sub(r'<mi>\1</mi><mspace width="0.167em" />', out)
    out = re.sub(r"<mo[^>]*>([A-Za-z]+)</mo>", r'<mi>\1</mi><mspace width="0.167em" />', out)
    out = re.sub(r"<mi>(~|&#x0*7E;)</mi>", r'<mo lspace="0.278em" rspace="0.278em">&#x223C;</mo>', out)
    return re.sub(r"<mo[^>]*>(\||&#x0007C;|&#x02016;)</mo>", r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>', out)
