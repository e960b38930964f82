"""Relevance as a transformation of functions: ``lrp``, and ``taps`` for what is inside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import ClosedJaxpr
from jaxtyping import PyTree

from xrcam_jax.errors import unknown
from xrcam_jax.lrp.composites import Composite, gradient
from xrcam_jax.lrp.operations import keep_operations
from xrcam_jax.lrp.plan import make_plan
from xrcam_jax.lrp.program import Probes, Program, flatten, marks_of, trace

Seed = Array | Callable[[Any], Any]


def program_for(closed: ClosedJaxpr, composite: Composite) -> Program:
    """A traced model as ``composite`` needs it: without rules, functions keep the derivatives they define."""
    if composite != gradient():
        return flatten(closed, keep_operations)
    return flatten(closed, lambda eqn: eqn.primitive.name.startswith("custom_") or keep_operations(eqn))


def lrp(f: Callable, composite: Composite) -> Callable:
    """Turn ``f`` into a function whose pullback propagates relevance.

    ``f`` is traced, and every operation that depends on ``x`` gets a ``jax.custom_vjp`` whose backward pass is
    the rule that ``composite`` names for it. So::

        out, pullback = jax.vjp(lrp(model, composites.relevance_cam()), x)
        (relevance,) = pullback(seeds.one_hot(out, targets))

    It composes with jit, vmap, grad, shard_map and remat. Relevance is differentiable in turn, with
    respect to ``x`` and ``args``; the pullback itself gives ``args`` nothing (zeros).

    Args:
      f: a function of (x, *args), pytrees of arrays: a model, or anything else in JAX.
      composite: which operation gets which rule.

    Returns:
      A function of the same arguments with the same value.

    Raises:
      NotImplementedError: (when called) a primitive that depends on ``x`` has no rule; names it and its line.
    """

    def explained(x: PyTree, *args: PyTree) -> PyTree:
        closed, structure = trace(f, x, *args)
        plan, _ = make_plan(program_for(closed, composite), composite, explained_leaves(x, args), None)
        outputs, _ = plan.run(jax.tree.leaves((x, *args)), Probes())
        return jax.tree.unflatten(structure, outputs)

    return explained


@dataclass(frozen=True)
class Taps:
    """What :func:`taps` finds.

    Attributes:
      output: of the function.
      activations: by mark.
      relevances: by mark, each of its activation's shape.
    """

    output: PyTree
    activations: dict[str, Array]
    relevances: dict[str, Array]


jax.tree_util.register_dataclass(Taps, ["output", "activations", "relevances"], [])


def taps(
    f: Callable,
    composite: Composite,
    x: PyTree,
    *args: PyTree,
    seed: Seed,
    marks: Sequence[str] | None = None,
) -> Taps:
    """Activation and relevance at every ``mark(x, name)`` in ``f``, from one forward and one backward pass.

    Nothing is propagated below the lowest mark.

    Args:
      f: a function of (x, *args) with marks in it.
      composite: which operation gets which rule.
      x: what the output is explained by.
      *args: the function's other arguments.
      seed: the output's relevance: an array of its shape, or a function of the output that returns one.
      marks: which marks; all by default.

    Raises:
      ValueError: a name in ``marks`` is not in ``f``, a mark is set twice, or the seed has not the output's
        shape.
      NotImplementedError: a primitive between the output and a mark has no rule.
    """
    closed, structure = trace(f, x, *args)
    values = jax.tree.leaves((x, *args))
    tapped = tap_program(closed, composite, explained_leaves(x, args), values, marks)
    output = jax.tree.unflatten(structure, tapped.outputs)
    relevance = seed(output) if callable(seed) else seed
    check_seed(relevance, output)
    return Taps(output, tapped.activations, tapped.pullback(jax.tree.leaves(relevance)))


def explained_leaves(x: PyTree, args: PyTree) -> list[bool]:
    """For each leaf of (x, *args), whether it is explained: those of ``x`` are."""
    return [True] * len(jax.tree.leaves(x)) + [False] * len(jax.tree.leaves(args))


class Tapped(NamedTuple):
    """A traced model that has run forward.

    Attributes:
      outputs: the leaves of what it returns.
      activations: by mark.
      pullback: from the relevance of the outputs to that at each mark; map it over several to explain several
        targets.
    """

    outputs: list[Array]
    activations: dict[str, Array]
    pullback: Callable[[list[Array]], dict[str, Array]]


def tap_program(
    closed: ClosedJaxpr,
    composite: Composite,
    explained: Sequence[bool],
    values: Sequence[Array],
    marks: Sequence[str] | None,
) -> Tapped:
    """:func:`taps` for a traced model, before a seed is chosen."""
    program = program_for(closed, composite)
    found = marks_of(program)
    names = tuple(found) if marks is None else tuple(marks)
    for name in names:
        if name not in found:
            raise unknown("mark", name, found)
    plan, _ = make_plan(program, composite, explained, frozenset(names))

    def forward(zeros: dict[str, Array]) -> tuple[list[Array], dict[str, Array]]:
        return plan.run(values, Probes(zeros))

    outputs, pullback, activations = jax.vjp(forward, {name: zeros_for(found[name]) for name in names}, has_aux=True)
    return Tapped(outputs, activations, lambda relevance: pullback(relevance)[0])


def zeros_for(aval: Any) -> Array:
    """Zeros of ``aval``'s shape and dtype, sharded as it is (explicit axes) and varying as it does (manual axes)."""
    zeros = jax.lax.full(aval.shape, 0, aval.dtype, sharding=aval.sharding)
    manual = getattr(aval, "manual_axis_type", None)  # called vma before JAX 0.10
    varying = manual.varying if manual is not None else getattr(aval, "vma", ())
    return jax.lax.pcast(zeros, tuple(varying), to="varying") if varying else zeros


def check_seed(seed: PyTree, output: PyTree) -> None:
    """Refuse a seed that has not the output's shape, with a ValueError that gives both."""
    wanted, found = (jax.tree.map(jnp.shape, tree) for tree in (output, seed))
    if wanted != found:
        raise ValueError(f"seed must have the output's shape {wanted}, got {found}")
