"""The document: summary, filter, then every case, the loudest findings first.

Self-contained: style and script are inline and the page's own policy allows nothing else, the script by its hash. Without
a script the filter is not shown and all else is there. No clock, no machine: equal results give equal bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from ..results import Result, Status, counts, summary
from .case import badge, kind, section
from .markup import Markup, joined, tag

_GUIDE = (
    "In the curves of a case: where a derivative is right its error falls towards the two bounds and rises with them again, a U; where it is wrong "
    "the error stays level. The Taylor remainder of a right one runs along the line of order 2, of a wrong one it bends to order 1."
)


def page(title: str, suite: str, results: Sequence[Result]) -> str:
    """The whole page. `suite`: the name of its file."""
    order = list(Status)
    ranked = sorted(enumerate(results), key=lambda item: order.index(item[1].status))
    found = counts(results)
    totals = [tag("li", badge(status), f" {n}") for status, n in sorted(found.items(), key=lambda item: order.index(item[0]))]
    body = tag(
        "body",
        tag(
            "main",
            tag("h1", title),
            tag("p", "Gradient check of ", tag("code", suite), f": {summary(results)}.", class_="soft"),
            tag("ul", *totals, class_="totals"),
            *[tag("p", _GUIDE, class_="soft guide") for _ in range(any(r.verdict is not None for r in results))],
            _filter(sorted(found, key=order.index)),
            *[section(result, at) for at, result in ranked],
        ),
        tag("script", Markup(_asset("filter.js"))),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy()),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title}: {summary(results)}"),
        tag("style", Markup(_asset("style.css"))),
    )
    return "<!DOCTYPE html>\n" + tag("html", head, body, lang="en").text + "\n"


def _filter(statuses: Sequence[Status]) -> Markup:
    """Shown by the script that makes it work."""
    boxes = [tag("label", tag("input", type="checkbox", value=kind(status), checked=True), status.value) for status in statuses]
    words = tag("label", "name ", tag("input", type="search", name="words", autocomplete="off"))
    return tag("form", words, *boxes, joined([tag("output", "", id="shown", class_="soft")]), id="filter", hidden=True, aria_label="Which cases are shown")


def _policy() -> str:
    script = base64.b64encode(hashlib.sha256(_asset("filter.js").encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{script}'; base-uri 'none'; form-action 'none'"


@cache
def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
