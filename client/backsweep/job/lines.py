"""Results <-> JSON: one object a line. A verdict is the proto3 JSON of backsweep.v1.Verdict, so any language has its schema.

Strict JSON: NaN and infinities are the strings proto3 says. The lines are in the suite's order and hold no clock.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format

from backsweep.v1 import query_pb2 as pb
from backsweep_engine.check.verdict import Verdict

from ..wire.verdicts import decode_verdict, encode_verdict
from .results import Result


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    return dict(json_format.MessageToDict(encode_verdict(verdict), preserving_proto_field_name=True))


def verdict_from(found: Any) -> Verdict:
    """The verdict again, equal to the one written; ValueError if it is none."""
    try:
        return decode_verdict(json_format.ParseDict(found, pb.Verdict(), ignore_unknown_fields=True))
    except (json_format.ParseError, AttributeError, TypeError) as error:
        raise ValueError(str(error)) from None


def json_lines(results: Sequence[Result]) -> str:
    """One line a case: name, status, why, place in the suite, model, point, judge, key and verdict."""
    return "".join(json.dumps(_line(result), allow_nan=False) + "\n" for result in results)


def _line(result: Result) -> dict[str, Any]:
    case, spec = result.case, result.case.spec
    line: dict[str, Any] = {"case": case.name, "status": result.status.value, "why": result.why, "at": spec.place, "model": spec.model}
    line |= {"point": case.point, "judge": case.judge}
    if result.verdict is not None:
        line |= {"key": result.key, "verdict": verdict_json(result.verdict)}
    return line
