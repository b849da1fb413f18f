"""Curves on two logarithmic axes, as inline SVG: the error against the step, the Taylor remainders.

Series differ by dash and mark, not by colour alone; colours come from the page's style, so that light, dark and print
share one drawing. Zero has no place on a logarithmic axis: such a point is drawn hollow on the floor. What is not finite is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .markup import Markup, number, tag

_WIDTH, _HEIGHT = 400.0, 262.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 12.0, 24.0, 42.0
_MAX_TICKS = 6


@dataclass(frozen=True, slots=True)
class Series:
    """A curve. `style`: its class in the page's style: error, truncation, roundoff, slope."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    style: str
    marks: bool = False


@dataclass(frozen=True, slots=True)
class _Axis:
    """log10 from `low` to `high` onto pixels from `start` to `stop`."""

    low: float
    high: float
    start: float
    stop: float

    def at(self, value: float) -> float:
        return self.at_power(math.log10(value) if value > 0 else self.low)

    def at_power(self, logarithm: float) -> float:
        share = (min(max(logarithm, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    def ticks(self) -> list[int]:
        first, last = math.ceil(self.low), math.floor(self.high)
        return list(range(first, last + 1, max(1, -(-(last - first + 1) // _MAX_TICKS))))


def plot(title: str, description: str, x_label: str, y_label: str, series: Sequence[Series], at: float = 0.0, at_label: str = "") -> Markup | None:
    """The figure with its legend; None if there is nothing to draw. `at`: a vertical line, if positive and finite."""
    points = [(x, y) for s in series for x, y in zip(s.x, s.y, strict=True) if x > 0 and math.isfinite(x) and math.isfinite(y)]
    if not points:
        return None
    at = at if 0 < at < math.inf else 0.0
    xs = [x for x, _ in points] + ([at] if at else [])
    ys = [y for _, y in points if y > 0] or [1.0]
    x_axis = _Axis(math.log10(min(xs)) - 0.1, math.log10(max(xs)) + 0.1, _LEFT, _WIDTH - _RIGHT)
    y_axis = _Axis(math.floor(math.log10(min(ys)) - 0.3), math.ceil(math.log10(max(ys)) + 0.3), _HEIGHT - _BOTTOM, _TOP)
    drawn = [*_grid(x_axis, y_axis, x_label, y_label)]
    if at:
        x = x_axis.at(at)
        drawn.append(tag("line", x1=_px(x), x2=_px(x), y1=_px(_TOP), y2=_px(_HEIGHT - _BOTTOM), class_="chosen"))
        side = {"text_anchor": "end", "x": _px(x - 4)} if x > _WIDTH / 2 else {"x": _px(x + 4)}
        drawn.append(tag("text", f"{at_label} {number(at)}", y=_px(_TOP - 8), class_="label", **side))
    for s in series:
        drawn += _curve(s, x_axis, y_axis)
    label = tag("title", title), tag("desc", description)
    svg = tag("svg", *label, *drawn, viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}", role="img", class_="plot", aria_label=f"{title}. {description}")
    keys = [tag("li", _sample(s), s.label) for s in series]
    told = [tag("p", description, class_="told")] if description else []
    return tag("figure", tag("figcaption", title), *told, svg, tag("ul", *keys, class_="keys"))


def _curve(s: Series, x_axis: _Axis, y_axis: _Axis) -> list[Markup]:
    kept = [(x_axis.at(x), y_axis.at(y), y > 0) for x, y in zip(s.x, s.y, strict=True) if x > 0 and math.isfinite(x) and math.isfinite(y)]
    drawn = [tag("polyline", points=" ".join(f"{_px(x)},{_px(y)}" for x, y, _ in kept), class_=f"curve {s.style}")]
    if s.marks:
        drawn += [tag("circle", cx=_px(x), cy=_px(y), r="2.6", class_=f"mark {s.style}" + ("" if solid else " hollow")) for x, y, solid in kept]
    return drawn


def _grid(x_axis: _Axis, y_axis: _Axis, x_label: str, y_label: str) -> list[Markup]:
    drawn = []
    for k in x_axis.ticks():
        x = _px(x_axis.at_power(k))
        drawn.append(tag("line", x1=x, x2=x, y1=_px(_TOP), y2=_px(_HEIGHT - _BOTTOM), class_="grid"))
        drawn.append(tag("text", _power(k), x=x, y=_px(_HEIGHT - _BOTTOM + 14), text_anchor="middle", class_="tick"))
    for k in y_axis.ticks():
        y = y_axis.at_power(k)
        drawn.append(tag("line", x1=_px(_LEFT), x2=_px(_WIDTH - _RIGHT), y1=_px(y), y2=_px(y), class_="grid"))
        drawn.append(tag("text", _power(k), x=_px(_LEFT - 5), y=_px(y + 4), text_anchor="end", class_="tick"))
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    drawn.append(tag("text", x_label, x=_px((_LEFT + _WIDTH - _RIGHT) / 2), y=_px(_HEIGHT - 8), text_anchor="middle", class_="label"))
    drawn.append(tag("text", y_label, x="12", y=_px(middle), text_anchor="middle", class_="label", transform=f"rotate(-90 12 {_px(middle)})"))
    return drawn


def _sample(s: Series) -> Markup:
    """The key of a series: a piece of its line."""
    parts = [tag("line", x1="0", x2="26", y1="6", y2="6", class_=f"curve {s.style}")]
    if s.marks:
        parts.append(tag("circle", cx="13", cy="6", r="2.6", class_=f"mark {s.style}"))
    return tag("svg", *parts, viewBox="0 0 26 12", class_="key", aria_hidden="true")


def _power(k: int) -> str:
    return f"1e{k}"


def _px(value: float) -> str:
    return f"{value:.1f}"
