"""Where relevance goes: what arrives at every operation and layer, what is handed on, and what is lost to what."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import PyTree

from xrcam_jax.lrp.assignments import Composite, Site
from xrcam_jax.lrp.plan import make_plan
from xrcam_jax.lrp.program import Probes, marks_of, trace
from xrcam_jax.lrp.propagate import new_ledger, total
from xrcam_jax.lrp.transform import Seed, check_seed, explained_leaves, program_for, zeros_for


@dataclass(frozen=True)
class Balance:
    """The account of an operation or of a stage, in units of relevance, summed over the batch.

    ``arrived = passed_on + bias + stabiliser + zero + rest``.

    Attributes:
      arrived: relevance at the output.
      passed_on: relevance handed to the inputs.
      bias: left with biases that the rule takes into z.
      stabiliser: left with the ε of a division.
      zero: dropped where z = 0.
      rest: everything else: rounding, and rules that do not conserve (a negative rest is relevance made up,
        as by the published gate).
      arrived_absolute: sum of the absolute values that arrived.
    """

    arrived: float
    passed_on: float
    bias: float
    stabiliser: float
    zero: float
    arrived_absolute: float

    @property
    def lost(self) -> float:
        """arrived - passed_on."""
        return self.arrived - self.passed_on

    @property
    def rest(self) -> float:
        """What of the loss none of the named causes explains."""
        return self.lost - self.bias - self.stabiliser - self.zero

    @property
    def relative_loss(self) -> float:
        """|lost| over the absolute relevance that arrived; 0 where nothing arrived."""
        return abs(self.lost) / self.arrived_absolute if self.arrived_absolute else 0.0

    @property
    def relative_rest(self) -> float:
        """|rest| over the absolute relevance that arrived; 0 where nothing arrived."""
        return abs(self.rest) / self.arrived_absolute if self.arrived_absolute else 0.0


@dataclass(frozen=True)
class Conservation:
    """What :func:`conservation` finds. ``print`` it for a table.

    Attributes:
      stages: by stage, from the output down: a stage ends at the mark of its name (or at the output) and
        begins at the marks below (or at the input).
      operations: every operation under a rule, from the output down, with its account.
      seed: sum of the relevance at the output.
      reached: sum of the relevance that reached the input.
    """

    stages: dict[str, Balance]
    operations: tuple[tuple[Site, Balance], ...]
    seed: float
    reached: float

    def __str__(self) -> str:
        head = f"{'stage':24}" + "".join(f"{name:>14}" for name in _COLUMNS)
        rows = [_row(stage, balance) for stage, balance in self.stages.items()]
        end = f"at the output {self.seed:.6g}, at the input {self.reached:.6g}"
        return "\n".join([head, *rows, end])

    def table(self) -> str:
        """The same, operation by operation."""
        head = f"{'operation':40}" + "".join(f"{name:>14}" for name in _COLUMNS)
        names = [f"{site.mark}: {site.scope or site.primitive} {site.kind}" for site, _ in self.operations]
        rows = [_row(name, b, 40) for name, (_, b) in zip(names, self.operations, strict=True)]
        return "\n".join([head, *rows])


_COLUMNS = ("arrived", "passed_on", "lost", "bias", "stabiliser", "zero", "rest", "relative_loss")


def _row(name: str, balance: Balance, width: int = 24) -> str:
    return f"{name[:width]:{width}}" + "".join(f"{getattr(balance, column):14.3e}" for column in _COLUMNS)


def conservation(f: Callable, composite: Composite, x: PyTree, *args: PyTree, seed: Seed) -> Conservation:
    """Account for all relevance from the output of ``f`` to its input.

    Every operation under a rule keeps a ledger, whose cotangent is the operation's account: so one forward and
    one backward pass give all of it. Operations that only rearrange values, and those under the
    ``Gradient`` rule, hand on what arrives and are not listed. Marks are taken as a chain: what a stage
    passes on is what arrives at the mark below.

    Args:
      f: a function of (x, *args), marked or not.
      composite: which operation gets which rule.
      x: what the output is explained by.
      *args: the function's other arguments.
      seed: the output's relevance: an array of its shape, or a function of the output that returns one.

    Raises:
      ValueError: the seed has not the output's shape, or a mark is set twice.
      NotImplementedError: a primitive has no rule.
    """
    closed, structure = trace(f, x, *args)
    program = program_for(closed, composite)
    plan, sites = make_plan(program, composite, explained_leaves(x, args), None)
    marks = marks_of(program)
    ledgers = {number: new_ledger() for number in range(len(sites))}

    @jax.jit
    def account(leaves: list[Any], rest: list[Any]) -> tuple[dict[str, Any], dict[int, Any]]:
        def forward(leaves: list[Any], probes: Probes) -> list[Any]:
            return plan.run([*leaves, *rest], probes)[0]

        zeros = {name: zeros_for(aval) for name, aval in marks.items()}
        outputs, pullback = jax.vjp(forward, leaves, Probes(zeros, ledgers))
        output = jax.tree.unflatten(structure, outputs)
        relevance = seed(output) if callable(seed) else seed
        check_seed(relevance, output)
        reached, found = pullback(jax.tree.leaves(relevance))
        levels = {"output": relevance, **found.taps, "": reached}
        return {name: _sums(level) for name, level in levels.items()}, found.ledgers

    levels, accounts = jax.device_get(account(jax.tree.leaves(x), jax.tree.leaves(args)))
    balances = [Balance(*map(float, accounts[number])) for number in range(len(sites))]
    order = ["output", *reversed(marks), ""]
    stages = {
        stage: _stage(
            levels[stage],
            levels[below],
            [b for s, b in zip(sites, balances, strict=True) if s.mark == stage],
        )
        for stage, below in pairwise(order)
    }
    return Conservation(
        stages, tuple(zip(sites, balances, strict=True)), float(levels["output"][0]), float(levels[""][0])
    )


def _sums(tree: PyTree) -> tuple[Array, Array]:
    """Sum, and sum of the absolute values, of all that ``tree`` holds."""
    leaves = jax.tree.leaves(tree)
    zero = jnp.zeros(())
    return sum(map(total, leaves), zero), sum((total(abs(leaf)) for leaf in leaves), zero)


def _stage(top: tuple[Any, Any], bottom: tuple[Any, Any], inside: list[Balance]) -> Balance:
    bias, stabiliser, zero = (sum(getattr(b, cause) for b in inside) for cause in ("bias", "stabiliser", "zero"))
    return Balance(float(top[0]), float(bottom[0]), bias, stabiliser, zero, float(top[1]))
