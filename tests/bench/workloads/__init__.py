"""The workloads, in the order of the table. One module a family; a workload is added to its WORKLOADS."""

from __future__ import annotations

from ..workload import Workload
from . import attention, bundle, chain, convolution, grid, groups, jacobians, kalman, logistic, lstm, mixture, ode, perceptron, process, rosenbrock, tiny

FAMILIES = (tiny, rosenbrock, chain, logistic, perceptron, mixture, jacobians, ode, lstm, bundle, process, convolution, attention, kalman, grid, groups)

WORKLOADS: dict[str, Workload] = {workload.name: workload for family in FAMILIES for workload in family.WORKLOADS}
