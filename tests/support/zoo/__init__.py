"""The zoo: named problems in plain NumPy (with bs.* where NumPy has no name), with derivatives from elsewhere.

One module a family; a problem is added there, to its PROBLEMS, and every test of tests/zoo runs over it.
"""

from __future__ import annotations

from . import clusters, dynamics, matrices, minima, networks, regression, sequences, vision
from .problem import Problem

FAMILIES = (minima, regression, clusters, matrices, sequences, dynamics, networks, vision)

ZOO: dict[str, Problem] = {problem.name: problem for family in FAMILIES for problem in family.PROBLEMS}
