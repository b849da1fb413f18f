"""Verdicts <-> messages: what a check found, with its evidence.

What this client does not know (an outcome, doubt or slip of a newer server) is CANNOT_TELL or left out: a
verdict never becomes more certain by being sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from backsweep.v1 import query_pb2 as pb
from backsweep_engine import query as ask
from backsweep_engine.check.verdict import Blame, Curve, Doubt, Entry, Outcome, Place, Slip, Taylor, Tried, Verdict

K = TypeVar("K")

OUTCOMES: dict[Outcome, pb.Outcome] = {
    Outcome.RIGHT: pb.OUTCOME_RIGHT,
    Outcome.WRONG: pb.OUTCOME_WRONG,
    Outcome.CANNOT_TELL: pb.OUTCOME_CANNOT_TELL,
}
SUBJECTS: dict[ask.Subject, pb.Subject] = {
    "own": pb.SUBJECT_OWN,
    "given": pb.SUBJECT_GIVEN,
    "jvp": pb.SUBJECT_JVP,
    "vjp": pb.SUBJECT_VJP,
    "jacobian": pb.SUBJECT_JACOBIAN,
    "hvp": pb.SUBJECT_HVP,
    "hessian": pb.SUBJECT_HESSIAN,
}
JUDGES: dict[ask.Judge, pb.Judge] = {
    "central2": pb.JUDGE_CENTRAL_2,
    "central4": pb.JUDGE_CENTRAL_4,
    "central6": pb.JUDGE_CENTRAL_6,
    "richardson": pb.JUDGE_RICHARDSON,
    "complex_step": pb.JUDGE_COMPLEX_STEP,
    "taylor": pb.JUDGE_TAYLOR,
}
_DOUBTS: dict[Doubt, pb.Doubt] = {
    Doubt.KINK: pb.DOUBT_KINK,
    Doubt.CANCELLATION: pb.DOUBT_CANCELLATION,
    Doubt.NOISE: pb.DOUBT_NOISE,
    Doubt.NON_FINITE: pb.DOUBT_NON_FINITE,
    Doubt.UNRESOLVED: pb.DOUBT_UNRESOLVED,
}
_SLIPS: dict[Slip, pb.Slip] = {
    Slip.SIGN: pb.SLIP_SIGN,
    Slip.FACTOR: pb.SLIP_FACTOR,
    Slip.SCALED: pb.SLIP_SCALED,
    Slip.TRANSPOSED: pb.SLIP_TRANSPOSED,
    Slip.SWAPPED: pb.SLIP_SWAPPED,
    Slip.MISSING_TERM: pb.SLIP_MISSING_TERM,
    Slip.NOT_FINITE: pb.SLIP_NOT_FINITE,
}


def key_of(table: Mapping[K, int], number: int) -> K | None:
    """The value an enum number stands for; None if it is unspecified or not known here."""
    return next((key for key, known in table.items() if known == number), None)


def encode_verdict(verdict: Verdict) -> pb.Verdict:
    message = pb.Verdict(
        outcome=OUTCOMES[verdict.outcome],
        why=verdict.why,
        worst=[_encode_entry(entry) for entry in verdict.worst],
        directions=verdict.directions,
        smallest_excluded_error=verdict.smallest_excluded_error,
        truncation_bound=verdict.truncation_bound,
        roundoff_bound=verdict.roundoff_bound,
        seed=verdict.seed,
        evaluations=verdict.evaluations,
        subject=SUBJECTS[verdict.subject],
        judge=JUDGES[verdict.judge],
        side=verdict.side,
        blamed=[pb.Blame(place=_encode_place(b.place), entry=_encode_entry(b.entry)) for b in verdict.blamed],
        examined=verdict.examined,
        tried=[_encode_tried(t) for t in verdict.tried],
    )
    if verdict.doubt is not None:
        message.doubt = _DOUBTS[verdict.doubt]
    if verdict.slip is not None:
        message.slip = _SLIPS[verdict.slip]
    if verdict.place is not None:
        message.place.CopyFrom(_encode_place(verdict.place))
    if verdict.curve is not None:
        c = verdict.curve
        message.curve.CopyFrom(pb.Curve(steps=c.steps, errors=c.errors, truncation_bounds=c.truncation_bounds, roundoff_bounds=c.roundoff_bounds, step=c.step))
    for t in verdict.taylor:
        series = {"steps": t.steps, "remainders": t.remainders, "roundoff_bounds": t.roundoff_bounds}
        message.taylor.add(direction=t.direction, order=t.order, fitted=t.fitted, expected=t.expected, **series)
    return message


def decode_verdict(message: pb.Verdict) -> Verdict:
    """An outcome this client does not know is CANNOT_TELL."""
    c = message.curve
    return Verdict(
        key_of(OUTCOMES, message.outcome) or Outcome.CANNOT_TELL,
        message.why,
        tuple([_decode_entry(entry) for entry in message.worst]),
        message.directions,
        message.smallest_excluded_error,
        message.truncation_bound,
        message.roundoff_bound,
        message.seed,
        message.evaluations,
        subject=key_of(SUBJECTS, message.subject) or "own",
        judge=key_of(JUDGES, message.judge) or "central4",
        doubt=key_of(_DOUBTS, message.doubt),
        place=_decode_place(message.place) if message.HasField("place") else None,
        side=message.side,
        slip=key_of(_SLIPS, message.slip),
        blamed=tuple([Blame(_decode_place(b.place), _decode_entry(b.entry)) for b in message.blamed]),
        examined=message.examined,
        curve=Curve(tuple(c.steps), tuple(c.errors), tuple(c.truncation_bounds), tuple(c.roundoff_bounds), c.step) if message.HasField("curve") else None,
        taylor=tuple(
            [Taylor(t.direction, tuple(t.steps), tuple(t.remainders), tuple(t.roundoff_bounds), t.order, t.fitted, t.expected) for t in message.taylor]
        ),
        tried=tuple([Tried(t.direction, t.mode, t.expected, t.got, t.bound, t.coordinate if t.HasField("coordinate") else -1) for t in message.tried]),
    )


def _encode_entry(entry: Entry) -> pb.Entry:
    slip = pb.SLIP_UNSPECIFIED if entry.slip is None else _SLIPS[entry.slip]
    message = pb.Entry(input=entry.input, index=entry.index, output=entry.output, slip=slip)
    message.expected, message.got, message.bound, message.ratio = entry.expected, entry.got, entry.bound, entry.ratio
    return message


def _decode_entry(message: pb.Entry) -> Entry:
    return Entry(message.input, tuple(message.index), message.expected, message.got, message.bound, message.output, key_of(_SLIPS, message.slip))


def _encode_place(place: Place) -> pb.Place:
    return pb.Place(function=place.function, node=place.node, op=place.op)


def _decode_place(message: pb.Place) -> Place:
    return Place(message.node if message.HasField("node") else None, message.op, message.function if message.HasField("function") else None)


def _encode_tried(tried: Tried) -> pb.Tried:
    coordinate = None if tried.coordinate < 0 else tried.coordinate
    return pb.Tried(direction=tried.direction, mode=tried.mode, expected=tried.expected, got=tried.got, bound=tried.bound, coordinate=coordinate)
