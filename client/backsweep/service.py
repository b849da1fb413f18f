"""Service and Function: what a user holds, the same whether the work is done here or by a server.

Both are final; what differs is the Transport they were given (client.py: over gRPC; inprocess.py: in
this process).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from backsweep_engine.errors import Error, GraphError
from backsweep_engine.graph import Graph
from backsweep_engine.text import text
from backsweep_engine.transforms import curvature, derive
from backsweep_engine.transforms.curvature import Family
from backsweep_engine.transforms.rewrite import positions

from .asks import as_asked
from .calls import Question, Verbs, posed
from .checking import adjoined, is_graph
from .composed import Composed, composed, gives, source_of
from .filed import Filed, require_npz, require_one_matrix, same_question, save_sparse
from .lines import show
from .questions import through_of
from .signature import MAX_FOUND, Argument, Array, Asked, Signature, bound_to, wrt_arguments
from .trace import trace
from .transport import Answering, Progress, Transport, Usage
from .trees import Tree, tree_of

ToFile = str | os.PathLike[str] | None
"""Where a matrix goes; None: it stays in memory."""

Batched = bool | str | int | Sequence[str | int]
"""Which arguments hold many points along a leading axis: all, or those of these names or positions."""


class Service:
    """Where functions are submitted to. Use it in a `with` statement, or call close()."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._pid = os.getpid()
        self._closed = False

    def submit(self, f: Callable[..., Any] | Graph, /, **arguments: Any) -> Function:
        """Traces `f` once, for these argument types, and returns it as a Function.

        An argument given as a type (`bs.float64[30]`; trees of types too) is an input of every
        call; one given as an array is bound: it is sent once, by digest. A Graph (a derivative, or
        one loaded from a file) may be submitted instead of a function: name what is bound.
        """
        self._require_open()
        if isinstance(f, Graph):
            return self._submit_graph(f.rooted(), arguments)
        traced = trace(f, arguments)
        points = tuple(Argument(name, tree) for name, tree in traced.in_trees.items())
        return Function(self, Signature(traced.graph, points, traced.bound, traced.out_tree), traced.sources)

    def _submit_graph(self, graph: Graph, bound: Mapping[str, Any]) -> Function:
        arrays = bound_to(graph, bound)
        free = [name for name in graph.input_names if name not in arrays]
        # The graph's inputs are flat: each is an argument of its own, called by its path.
        arguments = tuple(Argument(name, Tree()) for name in free)
        return Function(self, Signature(graph, arguments, arrays, tree_of(len(graph.outputs))), ())

    def load(self, path: str | Path, **bound: Any) -> Function:
        """A graph saved by `Function.save`, submitted with these inputs bound."""
        from .wire.graphs import decode_graph

        return self.submit(decode_graph(Path(path).read_bytes()), **bound)

    def fetch(self, digest: str, *, timeout: float | None = None, **bound: Any) -> Function:
        """A graph the server holds, named by its digest `SHA256/SIZE` (hexadecimal, bytes), submitted with these inputs bound."""
        from .wire.arrays import digest_from

        self._require_open()
        return self.submit(self._transport.graph(digest_from(digest), timeout), **bound)

    def engine_version(self, *, timeout: float | None = None) -> str:
        """The version of the engine that answers: here, or the server's."""
        self._require_open()
        return self._transport.engine_version(timeout)

    @property
    def usage(self) -> Usage:
        """What this service has done for this client so far."""
        return self._transport.usage

    def close(self) -> None:
        """Ends the connection (or the in-process workers). Idempotent."""
        if not self._closed:
            self._closed = True
            self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return Service, (self._transport,)

    def _require_open(self) -> None:
        if self._closed:
            raise Error("this service is closed", reason="CLOSED", hint="connect again")
        if self._pid != _process:
            raise Error("this service was opened in another process", reason="FORKED", hint="connect again after the fork (or pass it by pickle)")


_process = os.getpid()


def _forked() -> None:
    global _process
    _process = os.getpid()


# Asking the system at every call would cost more than a small gradient.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Function:
    """A submitted function. Inputs are positional, in the order of the function's own arguments
    without the bound ones. Options of every verb: `wrt` (a name or position, or a tuple of them;
    default all floating inputs), `timeout` in seconds, `progress`, a callback (done, total), and `batched`: True where every
    input holds many points along a leading axis, which the answers gain too, or the arguments that do. Seeds with that
    axis differ from point to point.

    Answers are shaped like what they are taken by: a gradient like its input, a Jacobian leaf
    output.shape + input.shape. Dense arrays are writable and the caller's own.
    """

    def __init__(self, service: Service, signature: Signature, sources: Sequence[str]) -> None:
        self.service = service
        self.signature = signature
        self._sources = tuple(sources)
        self._calls: dict[Any, Composed] = {}
        """of the last question by what was asked: its verbs and options"""
        self._answerings: dict[Question, Answering] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Function, (self.service, self.signature, self._sources)

    @property
    def graph(self) -> Graph:
        """The computation as a graph: a value, printable with str(f)."""
        return self.signature.graph

    def __str__(self) -> str:
        return text(self.graph)

    def __repr__(self) -> str:
        inputs = ", ".join(f"{n}: {t}" for n, t in zip(self.graph.input_names, self.graph.input_types, strict=True))
        return f"<backsweep function ({inputs}) of {self.graph.size} nodes>"

    def __call__(self, *inputs: Any, timeout: float | None = None, progress: Progress | None = None, batched: Batched = False) -> Any:
        """The value."""
        return self._one("value", inputs, None, {} if batched is False else {"batched": batched}, timeout, progress)

    def gradient(self, *inputs: Any, timeout: float | None = None, progress: Progress | None = None, **options: Any) -> Any:
        """The gradient of a scalar function, shaped like `wrt`."""
        return self._one("gradient", inputs, None, options, timeout, progress)

    def value_and_gradient(self, *inputs: Any, timeout: float | None = None, progress: Progress | None = None, **options: Any) -> Any:
        """(value, gradient), in one pass."""
        return self._one("value_and_gradient", inputs, None, options, timeout, progress)

    def jvp(self, *inputs: Any, tangent: Any, timeout: float | None = None, progress: Progress | None = None, **options: Any) -> Any:
        """J t, shaped like the output; `tangent` shaped like wrt, with one more leading axis for many."""
        return self._one("jvp", inputs, tangent, options, timeout, progress)

    def vjp(self, *inputs: Any, cotangent: Any, timeout: float | None = None, progress: Progress | None = None, **options: Any) -> Any:
        """c J, shaped like wrt; `cotangent` shaped like the output, with one more leading axis for many."""
        return self._one("vjp", inputs, cotangent, options, timeout, progress)

    def hvp(self, *inputs: Any, tangent: Any, timeout: float | None = None, progress: Progress | None = None, **options: Any) -> Any:
        """H t of a scalar function, shaped like wrt; one more leading axis for many."""
        return self._one("hvp", inputs, tangent, options, timeout, progress)

    def jacobian(self, *inputs: Any, to: ToFile = None, timeout: float | None = None, progress: Progress | None = None, **options: Any) -> Any:
        """All first derivatives. `mode`: "auto", "forward" or "reverse"; `block`: rows, columns or colours per block.

        `to="j.npy"`: the matrix over the ravels of all outputs and of all of `wrt` goes to that file block by block, and
        comes back as a read-only map of it: it may be larger than memory. A call that was cut off, even killed, is
        gone on with by the same call again. With `layout="sparse"` the file is a .npz, as of scipy.sparse.save_npz.

        `layout="sparse"`: a scipy.sparse.csr_array over the ravels of all outputs and of all of `wrt`, whose
        pattern is the same at every point (it may hold zeros).
        """
        return self._matrix(inputs, "jacobian", None, options, timeout, progress, to)

    def hessian(self, *inputs: Any, to: ToFile = None, timeout: float | None = None, progress: Progress | None = None, **options: Any) -> Any:
        """All second derivatives of a scalar function: leaves input.shape + input.shape. `layout` and `to` as of `jacobian`."""
        return self._matrix(inputs, "hessian", None, options, timeout, progress, to)

    def hessian_diagonal(self, *inputs: Any, timeout: float | None = None, progress: Progress | None = None, **options: Any) -> Any:
        """The Hessian's diagonal, shaped like wrt.

        `method`: "exact" (by colouring where the Hessian is sparse, else by n HVPs), "hvps" (n HVPs), or
        "estimate", Hutchinson's from `samples` random products drawn from `seed`: (value, standard_error).
        """
        return self._one("hessian_diagonal", inputs, None, options, timeout, progress)

    def gauss_newton(
        self, *inputs: Any, through: Any, tangent: Any = None, to: ToFile = None, timeout: float | None = None, progress: Progress | None = None, **options: Any
    ) -> Any:
        """The generalised Gauss-Newton matrix G = J' H J of a scalar L(x) = l(z(x)): J the Jacobian of z, H the Hessian of l by z.

        `through` says what z is: the name given in the function by z = bs.name("logits", z); or, where the
        function returns more than the scalar (return z, loss), the part of the output: 0, "[0]", the
        key of a dict; or a tuple of such. With `tangent` the product G t, shaped like wrt (one more leading axis for
        many), without it the matrix, as of `hessian`. G is positive semi-definite wherever l is convex in z, and the
        Hessian where z is linear in x. (Schraudolph 2002; Martens 2020.)

        The scalar may depend on wrt through z only, else NOT_THROUGH: of a penalty too, name what it reads.
        """
        return self._matrix(inputs, "gauss_newton", tangent, {"through": through, **options}, timeout, progress, to)

    def fisher(
        self,
        *inputs: Any,
        family: Family,
        tangent: Any = None,
        to: ToFile = None,
        timeout: float | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> Any:
        """The Fisher information F = J' I(z) J of the model whose parameters z the function gives: the expectation, not an estimate.

        z, and I(z) of one observation, summed over all of z: family "normal": means, with unit variance, 1; or a tuple
        (mean, log_scale), diag(exp(-2 log_scale), 2). "bernoulli": logits, p (1 - p). "categorical": logits along
        the last axis, diag(p) - p p'. "poisson": logs of rates, exp(z). With `tangent` the product F t, shaped like wrt
        (one more leading axis for many), without it the matrix, as of `hessian`. (Amari 1998; Martens 2020.)
        """
        return self._matrix(inputs, "fisher", tangent, {"family": family, **options}, timeout, progress, to)

    def empirical_fisher(
        self, *inputs: Any, tangent: Any = None, to: ToFile = None, timeout: float | None = None, progress: Progress | None = None, **options: Any
    ) -> Any:
        """The sum over examples of g g', for a function that gives a log-likelihood per example and g the gradient of one.

        With `tangent` the product, without it the matrix, as of `fisher`. It is not the Fisher information: there the
        expectation is over labels drawn from the model, here the labels are the data's, so it is the Fisher's estimate only
        where the model is right, at its optimum. Elsewhere it is a second moment of gradients, and can differ from any
        curvature in size and direction (Kunstner, Hennig and Balles, Limitations of the Empirical Fisher
        Approximation, NeurIPS 2019).
        """
        return self._matrix(inputs, "empirical_fisher", tangent, options, timeout, progress, to)

    def check(self, *inputs: Any, gradient: Any = None, timeout: float | None = None, progress: Progress | None = None, **options: Any) -> Any:
        """A Verdict on the derivative at a point: on `gradient` if given, else on our own.

        `gradient`: values shaped like wrt, from any framework; or a function of the same arguments that gives them
        (traced like this one), a Function or a Graph. Of a custom_gradient our own derivative is the one its vjp gives.

        `subject`: "own" (the gradient and jvp of a scalar function, jvp and vjp of others), or one by itself: "jvp",
        "vjp", "jacobian", "hvp", "hessian". `judge`: "central4" (the default), "central2", "central6", "richardson",
        "complex_step" (through loops and cond too; not abs, max, comparisons that a where reads, factorisations) or
        "taylor". `seed` draws the probe directions, `directions` says how many;
        `coordinates=True` tries every entry by itself too. `max_worst`: how many wrong entries are named;
        `blame=True`: and which node's rule is wrong.
        """
        if is_graph(gradient):
            own = Function(self.service, adjoined(self.signature, gradient, options.get("wrt")), self._sources)
            return own._one("check", inputs, None, options, timeout, progress)
        return self._one("check", inputs, gradient, options, timeout, progress)

    def ask(self, *inputs_and_verbs: Any, timeout: float | None = None, progress: Progress | None = None, batched: Batched = False) -> tuple[Any, ...]:
        """Several answers at one point from one forward pass: f.ask(w, bs.value, bs.gradient, bs.hvp(v))."""
        count = len(self.signature.arguments)
        asked: list[Asked] = []
        key: list[Any] = []
        seeds: list[Any] = []
        for one in inputs_and_verbs[count:]:
            verb, seed, options = one = as_asked(one)
            if batched is not False:
                options = {**options, "batched": batched}
                one = Asked(verb, seed, options)
            asked.append(one)
            key.append(verb)
            if options:
                key.append((*options.items(),))
            if seed is not None:
                key.append(None)  # that it has one
                seeds.append(seed)
        return tuple(self._all(tuple(key), inputs_and_verbs[:count], seeds, asked, timeout, progress))

    def explain(self, *inputs: Any, verb: str = "gradient", timeout: float | None = None, **options: Any) -> str:
        """The plan the service would choose for a verb, with its promise, as text."""
        seed = options.pop("tangent", options.pop("cotangent", None))
        question, values = posed(self.signature, inputs, [(verb, seed, options)])
        self.service._require_open()
        return self.service._transport.explain(question, values, timeout)

    def derive(self, verb: str, wrt: Any = None, *, through: Any = (), family: Family | None = None) -> Function:
        """The derivative as a function of its own: "gradient", "value_and_gradient", "jvp", "vjp" or "hvp",
        or a product: "gauss_newton" (with `through`), "fisher" (with `family`) or "empirical_fisher".

        A jvp, vjp, hvp or product takes its seeds as further inputs. The result can be called, saved,
        printed and derived again.
        """
        makers: dict[str, Callable[[Graph, Sequence[int]], Graph]] = {
            "gradient": derive.gradient,
            "value_and_gradient": derive.value_and_gradient,
            "jvp": derive.jvp,
            "vjp": derive.vjp,
            "hvp": derive.hvp,
            "gauss_newton": lambda graph, wrt: curvature.gauss_newton(graph, wrt, through_of(self.signature, through)),
            "fisher": lambda graph, wrt: curvature.fisher(graph, wrt, curvature.as_family(family)),
            "empirical_fisher": curvature.empirical_fisher,
        }
        if verb not in makers:
            raise GraphError("this cannot be derived as a graph", reason="MALFORMED", got=repr(verb), allowed=", ".join(makers))
        arguments, _ = wrt_arguments(self.signature, wrt)
        names = [path for a in arguments for path in a.tree.paths(a.name)]
        graph = makers[verb](self.graph, positions(self.graph, names))
        return self.service.submit(graph, **self.signature.bound)

    def save(self, path: str | Path) -> None:
        """Writes the graph (not the bound arrays) in the form the wire uses; `service.load` reads it."""
        from .wire.graphs import encode_graph

        Path(path).write_bytes(encode_graph(self.graph))

    def _one(self, verb: str, inputs: Sequence[Any], seed: Any, options: Mapping[str, Any], timeout: float | None, progress: Progress | None) -> Any:
        """What one verb gives."""
        key = (verb, *options.items()) if options else verb
        return self._all(key, inputs, () if seed is None else (seed,), ((verb, seed, options),), timeout, progress)[0]

    def _all(self, key: Any, inputs: Sequence[Any], seeds: Sequence[Any], asked: Verbs, timeout: float | None, progress: Progress | None) -> list[Any]:
        """What each verb of `asked` gives. `key`: the verbs with their options, and which have seeds if that is not told by their number."""
        service = self.service
        if service._closed or service._pid != _process:
            service._require_open()
        try:
            call = self._calls.get(key)
        except TypeError:  # an option is a list, or what is none
            call = key = None
        try:
            if call is not None and (results := call(inputs, seeds, timeout, progress)) is not None:
                return results
            question, values = posed(self.signature, inputs, asked)
            answering = self._answering_of(question, [verb for verb, _, _ in asked])
            if question.flat and key is not None:
                self._calls[key] = composed(question, answering)
            return answering(values, timeout, progress)
        except Error as error:
            show(error, source_of(self._sources, error.node))
            raise error from None

    def _answering_of(self, question: Question, verbs: Sequence[str]) -> Answering:
        answering = self._answerings.get(question)
        if answering is None:
            if len(self._answerings) >= MAX_FOUND:
                self._calls.clear()
                self._answerings.clear()
            answering = self.service._transport.answering(question, gives(question.results, verbs, self._sources))
            self._answerings[question] = answering
        return answering

    def _matrix(
        self, inputs: Sequence[Any], verb: str, seed: Any, options: Mapping[str, Any], timeout: float | None, progress: Progress | None, to: ToFile
    ) -> Any:
        """A matrix, in memory or to a file; or its product with a seed."""
        if to is None:
            return self._one(verb, inputs, seed, options, timeout, progress)
        require_one_matrix(verb, seed, options)
        if options.get("layout") == "sparse":
            require_npz(to)
            matrix = self._one(verb, inputs, seed, options, timeout, progress)
            save_sparse(to, matrix)
            return matrix
        question, values = posed(self.signature, inputs, ((verb, seed, options),))
        self.service._require_open()
        with Filed(to, same_question(question.request, question.call(values).values)) as file:
            give = gives(lambda answers: [answers[0].arrays[0]], (verb,), self._sources)
            try:
                (matrix,) = self.service._transport.answering(question, give, file)(values, timeout, progress)
            except Error as error:
                show(error, source_of(self._sources, error.node))
                raise error from None
            return file.finish(matrix)

    def bind(self, **arrays: Array) -> Function:
        """The same function with further inputs bound: sent once, and no longer inputs of the verbs."""
        given = bound_to(self.graph, arrays)
        left = tuple(a for a in self.signature.arguments if a.name not in given)
        return Function(self.service, replace(self.signature, arguments=left, bound={**self.signature.bound, **given}), self._sources)
