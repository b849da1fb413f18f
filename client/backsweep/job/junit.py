"""Results as JUnit XML, which CI systems show: a test case a case, the suite's file and line beside it.

wrong and cannot tell are failures (of those types), what could not be run an error, what was not run skipped. There
are no times: a report depends on the suite alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as xml

from .results import Result, Status

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped."""

_ELEMENTS = {Status.WRONG: "failure", Status.CANNOT_TELL: "failure", Status.FAILED: "error", Status.NOT_RUN: "skipped"}


def junit(title: str, results: Sequence[Result]) -> str:
    """The document."""

    def count(element: str) -> str:
        return str(sum(_ELEMENTS.get(result.status) == element for result in results))

    totals = {"tests": str(len(results)), "failures": count("failure"), "errors": count("error"), "skipped": count("skipped")}
    suites = xml.Element("testsuites", {"name": _legal(title), **{key: totals[key] for key in ("tests", "failures", "errors")}})
    suite = xml.SubElement(suites, "testsuite", {"name": _legal(title), **totals})
    for result in results:
        spec = result.case.spec
        file, _, line = spec.place.rpartition(":")
        place = {"file": _legal(file or spec.place)} | ({"line": line} if line.isdecimal() else {})
        case = xml.SubElement(suite, "testcase", {"name": _legal(result.case.name), "classname": _legal(f"{title}.{spec.name}"), **place})
        element = _ELEMENTS.get(result.status)
        if element:
            detail = str(result.verdict) if result.verdict is not None else result.why
            told = xml.SubElement(case, element, type=result.status.value, message=_legal(result.why.splitlines()[0] if result.why else ""))
            if element == "skipped":
                del told.attrib["type"]  # the schema knows none
            told.text = _legal(detail if result.why in detail else f"{result.why}\n{detail}")
    xml.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + xml.tostring(suites, encoding="unicode") + "\n"


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)
