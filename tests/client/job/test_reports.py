"""What CI and people read: JUnit XML, and the HTML page, by a parser and in a real browser."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import pytest

from backsweep.cli import main
from backsweep.job.junit import junit
from backsweep.job.report.markup import Markup, tag
from backsweep.job.report.page import page
from backsweep.job.report.plot import Series, plot
from backsweep.job.results import Result, Status
from backsweep.job.suite import Case, Spec
from support import browser
from support.suites import EXPECTED, HOSTILE, gallery


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reports of the gallery."""
    suite = gallery(tmp_path_factory.mktemp("gallery"))
    assert main(["check", str(suite), "--out", str(suite.parent / "out"), "--quiet"]) == 1
    return suite.parent / "out"


# JUnit.


def test_junit_holds_every_case_with_its_finding_and_its_line(out: Path) -> None:
    suite = xml.parse(out / "junit.xml").getroot()[0]
    elements = {"right": None, "wrong": "failure", "cannot tell": "failure", "could not run": "error"}
    cases = {case.get("name"): case for case in suite}
    escaped = HOSTILE.replace("\x1b", "\ufffd")
    assert list(cases) == [escaped if name == HOSTILE else name for name in EXPECTED]
    for (name, case), status in zip(cases.items(), EXPECTED.values(), strict=True):
        assert [child.tag for child in case] == ([elements[status]] if elements[status] else []), name
        assert [child.get("type") for child in case] == ([status] if elements[status] else [])
        assert case.get("file") == "suite.toml" and int(case.get("line", 0)) >= 3
    counts = {key: int(suite.get(key, -1)) for key in ("tests", "failures", "errors", "skipped")}
    told = list(EXPECTED.values())
    assert counts == {"tests": len(EXPECTED), "failures": told.count("wrong") + told.count("cannot tell"), "errors": told.count("could not run"), "skipped": 0}
    (failure,) = cases["one entry off"]
    assert "x[3]: got 2.33273926, expected 2.30964283" in (failure.text or "")


def test_junit_skips_what_was_not_run() -> None:
    case = Case("a", Spec("a", "s.toml:1"), 0, "central4")
    suite = xml.fromstring(junit("t", [Result(case, Status.NOT_RUN, "the job stopped before it")]))[0]
    assert (suite.get("skipped"), suite[0][0].tag, suite[0][0].get("type")) == ("1", "skipped", None)


# The page, by a parser.


class Outline(HTMLParser):
    """What a page holds: its elements in order, their nesting checked."""

    VOID = ("meta", "input", "link", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        keys = [key for key, _ in attributes]
        assert len(set(keys)) == len(keys), f"an attribute twice: {name} {keys}"
        self.elements.append((name, {key: value or "" for key, value in attributes}))
        if name not in self.VOID:
            self._open.append(name)

    def handle_startendtag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, {key: value or "" for key, value in attributes}))

    def handle_endtag(self, name: str) -> None:
        assert self._open and self._open.pop() == name, f"</{name}> closes another"

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def all(self, name: str) -> list[dict[str, str]]:
        return [attributes for element, attributes in self.elements if element == name]


@pytest.fixture(scope="module")
def outline(out: Path) -> Outline:
    return Outline((out / "report.html").read_text())


def test_the_page_needs_nothing_from_outside(outline: Outline, out: Path) -> None:
    assert not [a for _, a in outline.elements if a.keys() & {"src", "href", "srcset", "action", "xlink:href", "style"}]
    assert len(outline.all("script")) == len(outline.all("style")) == 1
    style = "".join(text for inside, text in outline.texts if inside == "style")
    assert "url(" not in style and "@import" not in style
    (policy,) = [meta["content"] for meta in outline.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")


def test_names_of_strangers_are_text_and_nothing_else(outline: Outline) -> None:
    names = [text for inside, text in outline.texts if inside == "h2" and "alert" in text]
    assert names == ['<script>alert(1)</script> & "quotes" \'</style>\\x1b[31m\\u202e'.replace("\\u202e", "\\x202e")]
    assert not [a for _, a in outline.elements if any(key.startswith("on") for key in a)]


def test_every_case_has_a_section_the_loudest_first_and_what_is_not_right_open(outline: Outline) -> None:
    sections = outline.all("details")
    kinds = [section["class"].removeprefix("case ") for section in sections]
    order = ["wrong", "failed", "cannot-tell", "not-run", "right"]
    assert kinds == sorted(kinds, key=order.index) and len(kinds) == len(EXPECTED)
    assert ["open" in section for section in sections] == [kind != "right" for kind in kinds]
    assert len({section["id"] for section in sections}) == len(sections)


def test_figures_have_names_and_tables_have_heads(outline: Outline) -> None:
    drawings = [svg for svg in outline.all("svg") if svg.get("role") == "img"]
    assert len(drawings) > 20 and outline.all("svg").count({"viewBox".lower(): "0 0 26 12", "class": "key", "aria-hidden": "true"}) > 20
    assert all("aria-label" in svg for svg in drawings if svg.get("class") == "plot")
    assert all(head.get("scope") in ("col", "row") for head in outline.all("th"))
    assert len(outline.all("h2")) == len(outline.all("details"))
    assert outline.all("html") == [{"lang": "en"}] and len(outline.all("main")) == len(outline.all("h1")) == 1


def test_the_blamed_node_is_marked_in_a_window_of_a_large_graph(out: Path) -> None:
    text = (out / "report.html").read_text()
    (section,) = re.findall(r"<details[^>]*>(?:(?!</details>).)*of a long graph<.*?</details>", text, re.DOTALL)
    assert re.search(r"24 of the graph&#x27;s \d+ nodes; marked: node \d+ \(custom\): blamed", section)
    assert section.count('class="node marked"') == 1 and section.count("<rect") == 24 and "blamed!" in section


def test_a_node_blamed_in_a_body_is_marked_in_a_picture_of_the_body(out: Path) -> None:
    text = (out / "report.html").read_text()
    (section,) = re.findall(r"<details[^>]*>(?:(?!</details>).)*faulty rule in a loop<.*?</details>", text, re.DOTALL)
    main, body = re.findall(r"<figcaption>([^<]*(?:graph|Function)[^<]*)</figcaption>", section)
    assert re.fullmatch(r"The graph, \d+ nodes; marked: node \d+ \(scan\): holds function 2", main)
    assert re.fullmatch(r"Function 2, the body of node \d+ \(scan\), \d+ nodes; marked: node \d+ \(custom\): blamed", body)
    assert re.search(r"the rule of node \d+ of function 2 \(custom\) is wrong", section)


def test_a_page_without_cases_stands() -> None:
    assert "0 cases" in page("t", "s.toml", []) and Outline(page("<t>", "s.toml", [])).all("main")


# Drawing.


def test_text_is_escaped_wherever_it_stands() -> None:
    made = tag("p", "<b>&", tag("i", '"'), title='"><script>', hidden=False, open=True)
    assert made == Markup('<p title="&quot;&gt;&lt;script&gt;" open>&lt;b&gt;&amp;<i>&quot;</i></p>')


STRANGE = [
    ([1e-8, 1e-4], [0.0, 0.0]),
    ([1e-8, 1e-4], [math.nan, 1e-3]),
    ([1e-8], [math.inf]),
    ([1e-300, 1e300], [5e-324, 1.7e308]),
    ([1e-4], [1.0]),
    ([], []),
]


@pytest.mark.parametrize(("x", "y"), STRANGE)
@pytest.mark.parametrize("at", [0.0, 1e-5, math.inf])
def test_a_curve_of_any_numbers_is_drawn_within_its_frame_or_not_at_all(x: list[float], y: list[float], at: float) -> None:
    drawn = plot("t", "d", "x", "y", [Series("s", x, y, "error", marks=True)], at)
    assert (drawn is None) == (not [v for v in y if math.isfinite(v)])
    if drawn is not None:
        assert "nan" not in drawn.text and "inf" not in drawn.text
        for cx, cy in re.findall(r'cx="([\d.-]+)" cy="([\d.-]+)" r="2.6" class="mark', drawn.text.split("</svg>")[0]):
            assert 64 <= float(cx) <= 388 and 24 <= float(cy) <= 220


# The page, in a browser.

in_a_browser = pytest.mark.skipif(browser.FOUND is None, reason=f"no browser here: none of {', '.join(browser.NAMES)} is on the path")


@in_a_browser
@pytest.mark.parametrize("width", [360, 390, 1100])
def test_the_page_fits_its_width_with_every_case_open(width: int, out: Path) -> None:
    script = """
      d.querySelectorAll('details').forEach(function (one) { one.open = true; });
      var smallest = 99;
      d.querySelectorAll('svg.plot').forEach(function (svg) {
        var scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
        smallest = Math.min(smallest, scale * parseFloat(w.getComputedStyle(svg.querySelector('text')).fontSize));
      });
      return {page: d.documentElement.scrollWidth, window: w.innerWidth, smallest: smallest, cases: d.querySelectorAll('details').length};
    """
    found = browser.measured((out / "report.html").read_text(), script, width=width)
    assert found["cases"] == len(EXPECTED) and found["window"] == width
    assert found["page"] <= width, "it scrolls sideways"
    assert found["smallest"] >= 9.5, "the words of a figure cannot be read"


# Contrast by WCAG 2.2: relative luminance of sRGB, (L1 + 0.05) / (L2 + 0.05), at least 4.5 for text.
_CONTRAST = """
  function rgb(c) { return c.match(/[\\d.]+/g).map(Number); }
  function luminance(c) { var v = rgb(c).slice(0, 3).map(function (x) { x /= 255; return x <= 0.04045 ? x / 12.92 : Math.pow((x + 0.055) / 1.055, 2.4); });
    return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; }
  function behind(e) { while (e) { var c = w.getComputedStyle(e).backgroundColor, v = rgb(c); if (v.length < 4 || v[3] > 0) return c; e = e.parentElement; }
    return 'rgb(255, 255, 255)'; }
  d.querySelectorAll('details').forEach(function (one) { one.open = true; });
  var worst = {ratio: 99}, paper = behind(d.body);
  d.querySelectorAll('body *').forEach(function (e) {
    var own = Array.prototype.some.call(e.childNodes, function (n) { return n.nodeType === 3 && n.textContent.trim(); });
    if (!own || ['SCRIPT', 'TITLE', 'DESC'].indexOf(e.tagName.toUpperCase()) >= 0) return;
    var style = w.getComputedStyle(e), svg = e instanceof w.SVGElement;
    var box = svg && e.parentElement.querySelector('rect.node');
    var ground = box ? w.getComputedStyle(box).fill : behind(e);
    var a = luminance(svg ? style.fill : style.color), b = luminance(ground), ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst.ratio) worst = {ratio: ratio, tag: e.tagName, kind: String(e.getAttribute('class')), text: e.textContent.slice(0, 40)};
  });
  return {worst: worst, dark: luminance(paper) < 0.2};
"""


@in_a_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(dark: bool, out: Path) -> None:
    found = browser.measured((out / "report.html").read_text(), _CONTRAST, *[browser.DARK] * dark, width=900)
    assert found["dark"] is dark
    assert found["worst"]["ratio"] >= 4.5, found["worst"]


@in_a_browser
def test_the_filter_shows_what_is_asked_and_a_strangers_script_does_not_run(out: Path) -> None:
    script = """
      function shown() {
        return Array.prototype.filter.call(d.querySelectorAll('details.case'), function (one) { return one.getClientRects().length; }).length;
      }
      function change(box, value) {
        if (box.type === 'checkbox') box.checked = value; else box.value = value;
        box.dispatchEvent(new w.Event('input', {bubbles: true}));
      }
      var form = d.getElementById('filter'), counts = [shown()], boxes = form.querySelectorAll('input[type=checkbox]');
      boxes.forEach(function (box) { if (box.value !== 'wrong') change(box, false); }); counts.push(shown());
      change(form.elements.words, 'LONG GRAPH'); counts.push(shown());
      boxes.forEach(function (box) { change(box, true); }); change(form.elements.words, ''); counts.push(shown());
      return {counts: counts, said: d.getElementById('shown').textContent, scripts: d.scripts.length, hidden: form.hidden};
    """
    found: Any = browser.measured((out / "report.html").read_text(), script)
    wrong = list(EXPECTED.values()).count("wrong")
    assert found == {"counts": [len(EXPECTED), wrong, 1, len(EXPECTED)], "said": f"{len(EXPECTED)} of {len(EXPECTED)} shown", "scripts": 1, "hidden": False}


def test_the_lines_are_strict_json(out: Path) -> None:
    def refused(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    lines = [json.loads(line, parse_constant=refused) for line in (out / "cases.jsonl").read_text().splitlines()]
    assert [line["case"] for line in lines] == list(EXPECTED)
