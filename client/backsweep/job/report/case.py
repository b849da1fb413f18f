"""One case of the page: its verdict in a line, then the evidence: figures, curves, worst entries, the graph."""

from __future__ import annotations

import math
from collections.abc import Sequence

from backsweep_engine.check.verdict import Curve, Entry, Taylor, Verdict

from ..results import Result, Status
from .markup import Content, Markup, number, tag
from .picture import picture
from .plot import Series, plot

_SIGNS = {Status.WRONG: "✗", Status.FAILED: "!", Status.CANNOT_TELL: "?", Status.NOT_RUN: "–", Status.RIGHT: "✓"}
"""Beside the word, so that no finding is told by colour alone."""


def badge(status: Status) -> Markup:
    return tag("span", tag("span", _SIGNS[status], aria_hidden="true"), f" {status.value}", class_=f"badge {kind(status)}")


def kind(status: Status) -> str:
    """The class of a status in style and script."""
    return status.name.lower().replace("_", "-")


def section(result: Result, at: int) -> Markup:
    """A case, open if it is not right; readable and foldable without a script."""
    case, spec = result.case, result.case.spec
    headline = tag("summary", badge(result.status), tag("h2", case.name, class_="name"))
    facts: list[tuple[str, Content]] = [("model", tag("code", spec.model or "(none)")), ("in the suite", tag("code", spec.place))]
    body: list[Content] = [tag("p", result.why, class_="why")]
    if result.verdict is not None:
        facts += _facts(result.verdict, spec.gradient)
        body += _evidence(result.verdict)
    body += [picture(scene) for scene in result.scenes]
    rows = [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts]
    opened = result.status in (Status.WRONG, Status.FAILED, Status.CANNOT_TELL)
    return tag("details", headline, *body, tag("dl", *rows), id=f"case-{at}", class_=f"case {kind(result.status)}", open=opened)


def _facts(v: Verdict, given: Sequence[str]) -> list[tuple[str, Content]]:
    facts = [
        ("subject", f"the gradient given, {', '.join(given)}" if given else "our own derivative" if v.subject == "own" else f"our own {v.subject}"),
        ("judge", v.judge.replace("_", " ")),
        ("directions", f"{v.directions}, drawn from seed {v.seed}"),
        ("smallest error of one entry excluded", number(v.smallest_excluded_error) if math.isfinite(v.smallest_excluded_error) else "none"),
        ("truncation bound", number(v.truncation_bound)),
        ("round-off bound", number(v.roundoff_bound)),
        ("evaluations", str(v.evaluations)),
    ]
    if v.slip is not None:
        facts.insert(0, ("likely slip", v.slip.value))
    if v.doubt is not None:
        facts.insert(0, ("doubt", v.doubt.value + (f", at {v.place}" if v.place is not None else "")))
    if v.examined:
        facts.append(("rules examined by themselves", str(v.examined)))
    return [(name, text) for name, text in facts]


def _evidence(v: Verdict) -> list[Content]:
    parts: list[Content] = [tag("p", str(blame), class_="blame") for blame in v.blamed]
    if v.worst:
        parts.append(_worst(v.worst))
    drawn = [_curve(v.curve) if v.curve is not None else None, _taylor(v.taylor) if v.taylor else None]
    figures = [figure for figure in drawn if figure is not None]
    if figures:
        parts.append(tag("div", *figures, class_="figures"))
    return parts


def _worst(entries: Sequence[Entry]) -> Markup:
    """Where the page is narrow the style turns each row into lines, with the head of its column before each."""
    heads = ("expected", "got", "ratio", "bound", "likely slip")
    rows = []
    for e in entries:
        texts = (f"{e.expected:.9g}", f"{e.got:.9g}", number(e.ratio), number(e.bound), e.slip.value if e.slip else "–")
        cells = [tag("td", text, data_head=head, class_=None if head == heads[-1] else "figure") for head, text in zip(heads, texts, strict=True)]
        rows.append(tag("tr", tag("th", tag("code", e.place), scope="row"), *cells))
    columns = [tag("th", head, scope="col", class_=None if head in ("entry", heads[-1]) else "figure") for head in ("entry", *heads)]
    table = tag("table", tag("caption", "Worst entries"), tag("thead", tag("tr", *columns)), tag("tbody", *rows), class_="worst")
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label="Worst entries")


def _curve(curve: Curve) -> Markup | None:
    finite = [(e, h) for h, e in zip(curve.steps, curve.errors, strict=True) if math.isfinite(e)]
    least = f"The error is least, {number(min(finite)[0])}, at step {number(min(finite)[1])}; the judge chose {number(curve.step)}." if finite else ""
    least = f"The error is 0 at every step; the judge chose {number(curve.step)}." if finite and not any(e for e, _ in finite) else least
    series = [
        Series("error |difference − claim|", curve.steps, curve.errors, "error", marks=True),
        Series("truncation bound", curve.steps, curve.truncation_bounds, "truncation"),
        Series("round-off bound", curve.steps, curve.roundoff_bounds, "roundoff"),
    ]
    return plot("Error against step", least, "step", "error", series, curve.step, "chosen step")


def _taylor(tests: Sequence[Taylor]) -> Markup | None:
    """The remainders of the first few directions, beside the slope they should have."""
    shown = tests[:4]
    series = []
    for t in shown:
        order = f": order {t.order:.2f}" if t.fitted > 1 else ""
        series.append(Series(f"direction {t.direction}{order}", t.steps, t.remainders, "error", marks=True))
    first = shown[0]
    series.append(Series("round-off bound", first.steps, first.roundoff_bounds, "roundoff"))
    top = [(h, r) for h, r in zip(first.steps, first.remainders, strict=True) if r > 0 and math.isfinite(r)]
    if top:
        h0, r0 = max(top)
        series.append(Series(f"order {first.expected}, as it should be", first.steps, [r0 * (h / h0) ** first.expected for h in first.steps], "slope"))
    orders = ", ".join(f"{t.order:.2f}" for t in tests if t.fitted > 1)
    told = f"Observed order {orders} over {first.fitted} steps; expected {first.expected}." if orders else "No order: the remainders lie within their bound."
    return plot("Taylor remainder against step", told, "step", "remainder", series)
