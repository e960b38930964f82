"""Conservation is accounted for: what arrives at each operation, what is handed on, what is lost to which cause."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress, pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import PyTree

from xrcam_jax.lrp.assignments import Composite, Site
from xrcam_jax.lrp.plan import Plan, make_plan
from xrcam_jax.lrp.planned import with_layers
from xrcam_jax.lrp.program import Probes, marks_of, trace
from xrcam_jax.lrp.propagate import new_ledger, total
from xrcam_jax.lrp.transform import (
    Seed,
    check_floating,
    check_seed,
    explained_leaves,
    is_floating,
    zeros_for,
)


@dataclass(frozen=True)
class Balance:
    """A balance is the account of an operation or of a stage, in units of relevance, summed over the batch.

    ``arrived = passed_on + bias + stabiliser + zero + rest``. The rest is rounding, and what rules do that do not
    conserve: a negative rest is relevance made up, as by the published gate.

    Attributes:
      arrived: the relevance at the output.
      passed_on: the relevance handed to the inputs.
      bias: what was left with biases that the rule takes into z.
      stabiliser: what was left with the ε of a division.
      zero: what was dropped where z = 0.
      arrived_absolute: the sum of the absolute values that arrived.
    """

    arrived: float
    passed_on: float
    bias: float
    stabiliser: float
    zero: float
    arrived_absolute: float

    @property
    def lost(self) -> float:
        """Returns the relevance that arrived and was not passed on."""
        return self.arrived - self.passed_on

    @property
    def rest(self) -> float:
        """Returns the part of the loss that none of the named causes explains."""
        return self.lost - self.bias - self.stabiliser - self.zero

    @property
    def relative_loss(self) -> float:
        """Returns the size of the loss over the absolute relevance that arrived, 0 where nothing arrived."""
        return abs(self.lost) / self.arrived_absolute if self.arrived_absolute else 0.0

    @property
    def relative_rest(self) -> float:
        """Returns the size of the rest over the absolute relevance that arrived, 0 where nothing arrived."""
        return abs(self.rest) / self.arrived_absolute if self.arrived_absolute else 0.0


@dataclass(frozen=True, repr=False)
class Conservation:
    """Holds what :func:`conservation` finds. ``print`` shows the stages as a table.

    Attributes:
      stages: the accounts by stage, from the output down. A stage ends at the mark of its name (or at the output) and
        begins at the mark below (or at the input).
      operations: every operation under a rule, from the output down, with its account.
      seed: the sum of the relevance at the output.
      reached: the sum of the relevance that reached the input.
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

    def __repr__(self) -> str:
        return str(self)

    def table(self) -> str:
        """Returns the table of all operations."""
        head = f"{'operation':40}" + "".join(f"{name:>14}" for name in _COLUMNS)
        names = [f"{site.stage}: {site.scope or site.primitive} {site.kind}" for site, _ in self.operations]
        rows = [_row(name, b, 40) for name, (_, b) in zip(names, self.operations, strict=True)]
        return "\n".join([head, *rows])


_COLUMNS = ("arrived", "passed_on", "lost", "bias", "stabiliser", "zero", "rest", "relative_loss")


def _row(name: str, balance: Balance, width: int = 24) -> str:
    return f"{name[:width]:{width}}" + "".join(f"{getattr(balance, column):14.3e}" for column in _COLUMNS)


def conservation(
    f: Callable, composite: Composite, x: PyTree, *args: PyTree, seed: Seed, marks: Sequence[str] | None = None
) -> Conservation:
    """Accounts for all relevance from the output of a function to its input.

    Every operation under a rule keeps a ledger, whose cotangent is the operation's account, so that one forward and one
    backward pass give all of it. Operations that only rearrange values, and those that keep their derivative, hand on
    what arrives and are not listed. Layers are taken as a chain: what a stage passes on is what arrives at the layer
    below.

    Args:
      f: a function of (x, *args), or an NNX or Equinox module.
      composite: which operation gets which rule.
      x: what the output is explained by, a pytree of arrays.
      *args: the function's other arguments.
      seed: the relevance of the output: arrays of its shapes, or a function of the output that returns them.
      marks: names and globs of the layers at which stages end, see :func:`xrcam_jax.layers`; all marks by default.

    Returns:
      The accounts of all operations and stages.

    Raises:
      ValueError: the seed has not the output's shape, there is no such layer, a mark is set twice, or a rule does not
        fit its operation.
      NotImplementedError: a primitive has no rule.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> def model(x, w, b):
      ...     return xr.mark(x * 2, "hidden") @ w + b
      >>> x, w, b = jnp.array([[1.0, 3.0]]), jnp.array([[1.0], [1.0]]), jnp.array([2.0])
      >>> rules = xr.composites.epsilon_plus(eps=0)
      >>> report = xr.conservation(model, rules, x, w, b, seed=jnp.array([[10.0]]))
      >>> [(name, stage.arrived, stage.passed_on, stage.bias) for name, stage in report.stages.items()]
      [('output', 10.0, 8.0, 2.0), ('hidden', 8.0, 8.0, 0.0)]
    """
    check_floating(x)
    closed, structure = trace(f, x, *args)
    explained = explained_leaves(x, args)
    program, names = with_layers(closed, composite, explained, marks)
    plan, sites = make_plan(program, composite, explained, None, frozenset(names))
    ends = {name: aval for name, aval in marks_of(program).items() if name in names}
    ledgers = {number: new_ledger() for number in range(len(sites))}

    @jax.jit
    def account(leaves: list[Any], rest: list[Any]) -> tuple[dict[str, Any], dict[int, Any]]:
        floating, forward = _of_floating(plan, leaves, rest)
        zeros = {name: zeros_for(aval) for name, aval in ends.items()}
        _, pullback, outputs = jax.vjp(forward, floating, Probes(zeros, ledgers), has_aux=True)
        output = jax.tree.unflatten(structure, outputs)
        relevance = seed(output) if callable(seed) else seed
        check_seed(relevance, output)
        arriving = list(compress(jax.tree.leaves(relevance), map(is_floating, outputs)))
        reached, found = pullback(arriving)
        levels = {"output": arriving, **found.taps, "": reached}
        return {name: _sums(level) for name, level in levels.items()}, found.ledgers

    levels, accounts = jax.device_get(account(jax.tree.leaves(x), jax.tree.leaves(args)))
    balances = [Balance(*map(float, accounts[number])) for number in range(len(sites))]
    order = ["output", *reversed(ends), ""]
    stages = {
        stage: _stage(
            levels[stage],
            levels[below],
            [b for s, b in zip(sites, balances, strict=True) if s.stage == stage],
        )
        for stage, below in pairwise(order)
    }
    return Conservation(
        stages, tuple(zip(sites, balances, strict=True)), float(levels["output"][0]), float(levels[""][0])
    )


def _of_floating(plan: Plan, leaves: list[Any], rest: list[Any]) -> tuple[list[Any], Callable]:
    """Returns those of ``leaves`` that can carry relevance, and the program as a function of them and of probes.

    It returns the outputs that can carry relevance, and all outputs.
    """
    floating = [is_floating(leaf) for leaf in leaves]

    def forward(explained: list[Any], probes: Probes) -> tuple[list[Any], list[Any]]:
        given = iter(explained)
        values = [next(given) if yes else leaf for leaf, yes in zip(leaves, floating, strict=True)]
        outputs, _ = plan.run([*values, *rest], probes)
        return [out for out in outputs if is_floating(out)], outputs

    return list(compress(leaves, floating)), forward


def _sums(tree: PyTree) -> tuple[Array, Array]:
    """Returns the sum, and the sum of the absolute values, of all that ``tree`` holds."""
    leaves = jax.tree.leaves(tree)
    zero = jnp.zeros(())
    return sum(map(total, leaves), zero), sum((total(abs(leaf)) for leaf in leaves), zero)


def _stage(top: tuple[Any, Any], bottom: tuple[Any, Any], inside: list[Balance]) -> Balance:
    bias, stabiliser, zero = (sum(getattr(b, cause) for b in inside) for cause in ("bias", "stabiliser", "zero"))
    return Balance(float(top[0]), float(bottom[0]), bias, stabiliser, zero, float(top[1]))
