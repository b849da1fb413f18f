"""A suite file: what it may say, and every typo named with its line."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from backsweep.job.positions import positions
from backsweep.job.reading import KEYS, read_suite
from backsweep.job.suite import Spec, Suite
from backsweep_engine.errors import Error
from support.suites import write_suite

CASE = '[[case]]\nname = "a"\ngraph = "a.graph"\n'


def read(folder: Path, text: str) -> Suite:
    return read_suite(write_suite(folder, text))


def problems(suite: Suite) -> list[str]:
    return [problem for case in suite.cases for problem in case.spec.problems]


def test_lines_are_those_of_keys_whatever_stands_between() -> None:
    text = (
        '''# a comment
title = """two
lines [[case]]"""   # [not] a = table
seed = 1

[defaults]
points = [
  "a = 1",
]
[[case]]
name = "x"
'''
        + "sample.count = 2\n  [case.inputs]\n  w = 'float64'\n[[case]]\nsample = {domain = {x = [0, 1]}}\n"
    )
    found = positions(text)
    assert found[("title",)] == 2 and found[("seed",)] == 4 and found[("defaults", "points")] == 7
    assert found[("case", 0)] == 10 and found[("case", 0, "name")] == 11
    assert found[("case", 0, "sample", "count")] == 12
    assert found[("case", 0, "inputs")] == 13 and found[("case", 0, "inputs", "w")] == 14
    assert found[("case", 1)] == 15 and found[("case", 1, "sample", "domain", "x")] == 16


def test_a_long_list_is_placed_and_one_that_is_too_hard_to_place_is_still_read(tmp_path: Path) -> None:
    long = "points = [\n" + '  "p.npz",\n' * 20_000 + "]\njuge = 1\n"
    assert problems(read(tmp_path, CASE + long)) == ["suite.toml:20008: unknown key 'juge'; did you mean 'judge'?"]
    hard = "points = [\n" + '  "[p].npz",\n' * 20_000 + "]\njuge = 1\n"
    assert problems(read(tmp_path, CASE + hard)) == ["suite.toml:3: unknown key 'juge'; did you mean 'judge'?"]


def test_points_and_judges_make_cases_with_names_of_their_own(tmp_path: Path) -> None:
    suite = read(
        tmp_path, CASE + 'points = ["p.npz", "q.npz"]\njudge = ["central2", "taylor"]\n' + '[[case]]\nname = "b"\ndigest = "x"\nsample = {count = 2}\n'
    )
    assert [case.name for case in suite.cases] == ["a/0/central2", "a/0/taylor", "a/1/central2", "a/1/taylor", "b/0", "b/1"]
    assert suite.title == "a suite" and not problems(suite)


def test_defaults_hold_until_a_case_says_otherwise(tmp_path: Path) -> None:
    defaults = '[defaults]\njudge = "central6"\nsubject = "jvp"\nsample = {count = 2}\n'
    other = '[[case]]\nname = "b"\ngraph = "b.graph"\njudge = "taylor"\npoints = "p.npz"\ngradient = "g.npz"\n'
    suite = read(tmp_path, defaults + CASE + other)
    first, second = suite.cases[0].spec, suite.cases[-1].spec
    assert (first.judge, first.subject, len(suite.cases)) == (("central6",), "jvp", 3)
    assert (second.judge, second.subject, second.sample) == (("taylor",), "own", None)


TYPOS = [
    ('juge = "taylor"', 6, "unknown key 'juge'; did you mean 'judge'?"),
    ('judge = "tailor"', 6, "'tailor'"),
    ('judge = ["taylor", "taylor"]', 6, "or a list of them"),
    ("directions = 0", 6, "from 1 to 1024"),
    ("directions = true", 6, "a whole number"),
    ("seed = -1", 6, "a whole number from 0"),
    ('blame = "yes"', 6, "true or false"),
    ("bound = nan", 6, "a number above 0"),
    ('bind = "a\\u0000b"', 6, "a text of 1 to"),
    ("timeout = 0", 6, "a number above 0"),
    ('subject = "given"', 6, "gradient = FILE"),
    ('points = ["p.npz", 1]', 6, "a list of texts"),
    ("sample = {cuont = 3}", 6, "'cuont'"),
    ("sample = {count = 0}", 6, "for its count"),
    ('sample = {domain = {w = "gaussian"}}', 6, "normal, positive, unit"),
    ("sample = {domain = [2, 1]}", 6, "an interval"),
    ('points = "p.npz"\nsample = {}', 3, "not both"),
    ('gradient = "g.npz"\nsubject = "own"', 3, "not both"),
    ('digest = "x"', 3, "one of graph, digest and function"),
    ('points = ["p.npz", "q.npz", "r.npz"]\ngradient = ["a.npz", "b.npz"]', 7, "2 gradients for 3 points"),
    ('inputs = {w = "float64"}', 3, "types of a function's arguments"),
]


@pytest.mark.parametrize(("line", "at", "said"), TYPOS)
def test_a_typo_is_named_with_its_line_and_the_other_cases_stand(line: str, at: int, said: str, tmp_path: Path) -> None:
    suite = read(tmp_path, f'{CASE}{line}\n\n[[case]]\nname = "sound"\ngraph = "b.graph"\n')
    (problem,) = problems(suite)
    assert problem.startswith(f"suite.toml:{at}: ") and said in problem
    assert [case.name for case in suite.cases if not case.spec.problems] == ["sound"]


def test_two_cases_of_one_name_are_told_apart_and_the_second_is_named(tmp_path: Path) -> None:
    suite = read(tmp_path, CASE + CASE)
    assert [case.name for case in suite.cases] == ["a", "a (2)"]
    assert problems(suite) == ["suite.toml:6: a case of this name stands above: 'a'"]


def test_a_typo_above_the_cases_is_a_case_of_its_own(tmp_path: Path) -> None:
    suite = read(tmp_path, f'[defualts]\n[defaults]\nname = "x"\n{CASE}')
    assert [bool(case.spec.problems) for case in suite.cases] == [True, False]
    assert [problem.split(":")[1] for problem in problems(suite)] == ["3", "5"]


NO_SUITES = [
    ("[[case]\n", "not TOML"),
    ("a = \xff", "not TOML"),
    ("x = " + "[" * 5000, "not TOML"),
    ("", "no cases"),
    ("case = 3", "no cases"),
    ("case = [1]", "no cases"),
    ("a" + ".a" * 2000 + " = 1\n" + CASE, "too deep"),
]


@pytest.mark.parametrize(("text", "said"), NO_SUITES)
def test_what_is_no_suite_is_refused_as_a_whole(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(Error, match=said):
        read_suite(tmp_path / "suite.toml")


def test_every_key_is_a_field_of_a_spec_and_every_field_has_its_key() -> None:
    assert set(KEYS) == {f.name for f in fields(Spec)} - {"place", "problems"}
