"""The command line: `backsweep serve | describe | check | demo`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from backsweep_engine.errors import Error

VERBS = (
    "value",
    "gradient",
    "value_and_gradient",
    "jvp",
    "vjp",
    "hvp",
    "jacobian",
    "hessian",
    "hessian_diagonal",
    "gauss_newton",
    "fisher",
    "empirical_fisher",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 if the command did what was asked, 1 if not, 2 if it was not understood; of `check` as job/command.py says."""
    parser = argparse.ArgumentParser(prog="backsweep", description="Exact derivatives of computation graphs, as a service.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _serve_options(commands.add_parser("serve", help="start a gradient server", description=_serve.__doc__))
    _describe_options(commands.add_parser("describe", help="show a graph file and the plan of a query", description=_describe.__doc__))
    _check_options(commands.add_parser("check", help="check the gradients of a suite of models", description=_check.__doc__))
    _demo_options(commands.add_parser("demo", help="differentiate a real model through a real server", description=_demo.__doc__))
    try:
        options = parser.parse_args(arguments)
    except SystemExit as left:
        # argparse's 2 means "cannot tell" of a check: what was not understood could not run.
        if left.code == 2 and (sys.argv[1:] if arguments is None else arguments)[:1] == ["check"]:
            return 3
        raise
    try:
        return int(options.run(options))
    except Error as error:
        print(f"backsweep: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader (head, less) has what it wanted.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _serve_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", metavar="HOST:PORT", help="where to listen (default 127.0.0.1:50051; port 0 takes a free one and prints it)")
    parser.add_argument(
        "--executor", choices=("local", "cluster", "auto"), help="compute blocks in this process, over Ray workers, or wherever is sooner (default local)"
    )
    parser.add_argument("--lanes", type=int, metavar="N", help="Ray workers of the executors cluster and auto (default 2)")
    parser.add_argument("--cluster-address", metavar="HOST:PORT", help="a running Ray cluster to join (default RAY_ADDRESS, else one is started here)")
    parser.add_argument("--memory-bytes", type=int, metavar="N", help="memory budget of a request at its peak")
    parser.epilog = "Every other setting is an environment variable: see server/backsweep_server/settings.py. SIGTERM stops the server gracefully."
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    """Starts a gradient server in this process and prints `ready HOST:PORT` once it serves."""
    if find_spec("backsweep_server") is None:
        raise Error("the server is not installed", reason="NOT_INSTALLED", hint="pip install 'backsweep[server]'")
    environment = dict(os.environ)
    for name in ("listen", "executor", "lanes", "cluster_address", "memory_bytes"):
        if getattr(options, name) is not None:
            environment[f"BACKSWEEP_{name.upper()}"] = str(getattr(options, name))
    # The server replaces this process, so that signals and exit status are its own.
    os.execve(sys.executable, [sys.executable, "-m", "backsweep_server"], environment)


def _describe_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("graph", type=Path, metavar="GRAPH", help="a file written by Function.save")
    parser.add_argument("--query", choices=VERBS, default="gradient", help="whose plan to show (default gradient)")
    parser.add_argument("--wrt", action="append", metavar="INPUT", help="an input to differentiate by; repeat for several (default: all floating inputs)")
    parser.add_argument("--through", action="append", metavar="NAME", default=[], help="of gauss_newton: a named value or an output; repeat for several")
    parser.add_argument("--family", choices=("normal", "bernoulli", "categorical", "poisson"), default="", help="of fisher: whose parameters the outputs are")
    parser.add_argument("--block", type=int, default=0, metavar="N", help="rows or columns per block (default: the plan chooses)")
    parser.add_argument("--layout", choices=("dense", "sparse"), default="dense", help="how a matrix is delivered (default dense)")
    parser.add_argument("--memory-bytes", type=int, default=4 << 30, metavar="N", help="the budget (default 4 GiB)")
    parser.add_argument("--lanes", type=int, default=2, metavar="N", help="say where the executor auto with so many lanes would run it (default 2)")
    parser.add_argument("--text", action="store_true", help="print every node of the graph too")
    parser.set_defaults(run=_describe)


def _describe(options: argparse.Namespace) -> int:
    """Shows a graph's inputs, outputs and ops, its derivative's size beside its own, and the plan of a query."""
    from .describe import describe_file

    print(
        describe_file(
            options.graph,
            options.query,
            options.wrt,
            options.block,
            options.memory_bytes,
            options.text,
            options.layout,
            options.through,
            options.family,
            options.lanes,
        )
    )
    return 0


def _check_options(parser: argparse.ArgumentParser) -> None:
    from .job.options import options

    options(parser)
    parser.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    """Checks every gradient of a suite: many models, points and judges as one job that can be stopped, continued and sharded."""
    from .job.command import run

    return run(options)


def _demo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--executor", choices=("local", "cluster"), default="cluster", help="where blocks are computed (default cluster: two Ray workers)")
    parser.add_argument("--fault", action="store_true", help="instead: kill a worker while it computes, and compare the answer's bits")
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    """Fits a logistic regression to real data through a server on loopback, comparing every derivative with its formula."""
    if options.fault:
        from .demo import fault

        return fault.run()
    from .demo.run import run

    return run(options.executor)
