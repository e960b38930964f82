"""The plan of a relevance pass: which equations of a program run under which rule. Made once per trace."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
from jax import Array, lax

from xrcam_jax import facts, jaxprs
from xrcam_jax.facts import Fact
from xrcam_jax.lrp.backpropagation import MeanGradient
from xrcam_jax.lrp.composites import LAYERS, Composite, Site
from xrcam_jax.lrp.handlers import Group, Grouper, innermost, operation
from xrcam_jax.lrp.ops import propagate
from xrcam_jax.lrp.rules import (
    AlphaBeta,
    Flat,
    Gamma,
    Gate,
    Gradient,
    Pass,
    Rule,
    WSquare,
    ZBox,
    ZPlus,
    uses_bias,
)
from xrcam_jax.reinterpret import Equation, Program, Step, run

#: Rules that look at weights, and so are for operations that have some.
_WEIGHTED = (AlphaBeta, Flat, Gamma, WSquare, ZBox, ZPlus)


@dataclass(eq=False)
class Plan:
    """What runs in place of which equation of ``program``; ``sites`` are the operations under a rule.

    Probes given to :meth:`run` under a mark's name are taps, under a site's number its ledger.
    """

    program: Program
    steps: dict[int, Step | None] = field(default_factory=dict)

    def run(self, values: Sequence[Any], probes: dict[Any, Array]) -> tuple[list[Any], dict[str, Array]]:
        """The program's outputs and the tapped activations; see :func:`xrcam_jax.reinterpret.run`."""
        return run(self.program, self.steps, values, probes)


@dataclass(frozen=True)
class _Downstream:
    """What is known of a value from what reads it."""

    stage: str
    layers: int


def make_plan(
    program: Program, composite: Composite, explained: Sequence[bool], marks: frozenset[str] | None
) -> tuple[Plan, list[Site]]:
    """Assign a rule to every operation that relevance passes on its way to the input or to the chosen marks.

    Args:
      program: the model.
      composite: the rules.
      explained: for each of the program's inputs, whether it is explained.
      marks: where relevance is wanted; None means at the explained inputs.

    Raises:
      NotImplementedError: a primitive on that way has no rule; names it and the user's line.
      ValueError: a rule does not fit the operation that it was assigned to.
    """
    inputs = [
        Fact(explained=e and program.is_floating(i), seen=e and marks is None)
        for i, e in zip(program.inputs, explained, strict=True)
    ]
    sites: list[Site] = []
    below = [_Downstream("output", 0)] * len(program.outputs)
    return _Planner(program, composite, inputs, marks or frozenset(), sites).plan(below), sites


class _Planner:
    """Walks a program backwards, from its outputs to what is explained."""

    def __init__(
        self,
        program: Program,
        composite: Composite,
        inputs: list[Fact],
        marks: frozenset[str],
        sites: list[Site],
    ):
        self.program, self.composite, self.marks, self.sites = program, composite, marks, sites
        self.facts = facts.infer(program, inputs, marks)
        self.groups = Grouper(program, self.facts)
        self.below: dict[int, _Downstream] = {}
        self.steps: dict[int, Step | None] = {}

    def plan(self, outputs: Sequence[_Downstream]) -> Plan:
        """Steps for all equations whose outputs receive relevance; ``outputs`` is what follows the program's."""
        for value, downstream in zip(self.program.outputs, outputs, strict=True):
            self._receive(value, downstream)
        for position in reversed(range(len(self.program.equations))):
            equation = self.program.equations[position]
            below = [self.below[v] for v in equation.outputs if v in self.below]
            if below and position not in self.steps:
                self._visit(position, equation, _Downstream(below[0].stage, max(b.layers for b in below)))
        return Plan(self.program, self.steps)

    def _receive(self, value: int, below: _Downstream) -> None:
        """Note that relevance reaches ``value``."""
        if self.facts[value].seen:
            before = self.below.get(value, below)
            self.below[value] = _Downstream(before.stage, max(before.layers, below.layers))

    def _visit(self, position: int, equation: Equation, below: _Downstream) -> None:
        if equation.eqn.primitive.name in _BODIES:
            self._enter(position, equation, below)
        elif equation.mark is not None:
            self._receive(equation.inputs[0], _Downstream(equation.mark, below.layers))
        elif equation.primitive in facts.STRUCTURE:
            self._pass_through(equation, below)
        else:
            self._assign(position, equation, below)

    def _pass_through(self, equation: Equation, below: _Downstream) -> None:
        for value in equation.inputs:
            self._receive(value, below)

    def _assign(self, position: int, equation: Equation, below: _Downstream) -> None:
        group, site, rule = self._choose(position, below)
        if rule is None:
            raise NotImplementedError(
                f"no relevance rule for the primitive {equation.primitive!r} at {equation.source}"
                + (f" (as {site.kind}, in {site.scope or site.stage})" if site else "")
                + "; give the composite an assignment or a default for it, or explain from a mark after it"
            )
        if isinstance(rule, Gradient) or (isinstance(rule, Pass) and site is not None and site.kind == "shift"):
            self._pass_through(equation, below)
            return
        assert group is not None
        assert site is not None
        _check(rule, site)
        receivers = group.x[:1] if isinstance(rule, Gate) and rule.gate == 0 else group.x
        for value in receivers:
            self._receive(value, _Downstream(below.stage, below.layers + (site.kind in LAYERS)))
        for member in group.positions:
            self.steps[member] = None
        self.steps[position] = self._step(group, rule, len(self.sites))
        self.sites.append(site)

    def _choose(self, position: int, below: _Downstream) -> tuple[Group | None, Site | None, Rule | None]:
        """The operation that ends at ``position`` and its rule: the largest group that the composite wants."""
        fold = self.composite.fold
        for group in (
            self.groups.softmax(position),
            self.groups.layer(position, fold=fold),
            self.groups.mean(position),
        ):
            if group is None:
                continue
            site = self._site(group, below)
            rule = self.composite.rule(site)
            wanted = fold or uses_bias(rule) if group.kind in LAYERS else rule is not None
            if wanted and not isinstance(rule, Gradient):
                return group, site, rule
        group = self.groups.alone(position)
        if group is None:
            # Of an operation about which nothing is known, only the derivative can be taken.
            default = self.composite.default
            return None, None, default if isinstance(default, Gradient) else None
        site = self._site(group, below)
        if site.kind == "gate" and self._is_ambiguous(group) and self.composite.rule(site) == Gate(1, 0):
            return group, site, None
        return group, site, self.composite.rule(site)

    def _is_ambiguous(self, group: Group) -> bool:
        """Whether nothing tells the gate from the signal."""
        last = self.program.equations[group.positions[-1]]
        gates = [self.facts[v].gate for v in group.x]
        return last.primitive == "mul" and (len(gates) < 2 or gates[0] == gates[1])

    def _site(self, group: Group, below: _Downstream) -> Site:
        first = self.program.equations[group.positions[0]]
        return Site(
            kind=group.kind,
            primitive=innermost(first),
            scope=first.scope,
            stage=below.stage,
            first=max(self.facts[v].depth for v in group.x) == 0,
            last=below.layers == 0,
            source=first.source,
        )

    def _step(self, group: Group, rule: Rule, number: int) -> Step:
        op, n = operation(self.program, group, self.facts), len(group.x)

        def step(values: Sequence[Any], probes: dict[Any, Array]) -> tuple[Sequence[Any], dict[str, Array]]:
            return [propagate(op, rule, tuple(values[:n]), tuple(values[n:]), probes.get(number))], {}

        return Step((*group.x, *group.constants), step)

    def _enter(self, position: int, equation: Equation, below: _Downstream) -> None:
        """Plan the bodies of remat, scan and cond, and rebuild the construct around them."""
        operands = [self.facts[v] for v in equation.inputs]
        inputs = facts.body_inputs(equation, operands, self.marks)
        plans = []
        for body in equation.bodies:
            planner = _Planner(body, self.composite, inputs, self.marks, self.sites)
            plans.append(planner.plan([below] * len(body.outputs)))
        self.steps[position] = Step(equation.inputs, partial(_BODIES[equation.eqn.primitive.name], equation, plans))
        self._pass_through(equation, _Downstream(below.stage, below.layers + 1))


def _check(rule: Rule, site: Site) -> None:
    weighted = site.kind in (*LAYERS, "add", "sum", "scale", "shift")
    misfit = (
        (isinstance(rule, _WEIGHTED) and not weighted)
        or (isinstance(rule, Gate) and site.kind != "gate")
        or (isinstance(rule, Pass) and site.kind not in ("activation", "scale", "shift"))
        or (site.kind == "gate" and not isinstance(rule, (Gate, MeanGradient)))
    )
    if misfit:
        raise ValueError(f"the rule {rule} cannot be used for kind {site.kind!r} ({site.primitive} at {site.source})")


def _run_remat(equation: Equation, plans: Sequence[Plan], values: Sequence[Any], probes: dict) -> Any:
    body = jax.checkpoint(plans[0].run, **jaxprs.remat_options(equation.eqn))
    return body(list(values), probes)


def _run_scan(equation: Equation, plans: Sequence[Plan], values: Sequence[Any], probes: dict) -> Any:
    scan = jaxprs.scan(equation.eqn)
    consts, carries = scan.consts, scan.carries
    ledgers = {key: probe for key, probe in probes.items() if isinstance(key, int)}

    def turn(carry: list[Any], xs: list[Any]) -> tuple[list[Any], list[Any]]:
        outputs, _ = plans[0].run([*values[:consts], *carry, *xs], ledgers)
        return outputs[:carries], outputs[carries:]

    start, xs = list(values[consts : consts + carries]), list(values[consts + carries :])
    carry, ys = lax.scan(turn, start, xs, length=scan.length, reverse=scan.reverse, unroll=scan.unroll)
    return [*carry, *ys], {}


def _run_cond(equation: Equation, plans: Sequence[Plan], values: Sequence[Any], probes: dict) -> Any:
    ledgers = {key: probe for key, probe in probes.items() if isinstance(key, int)}
    branches = [lambda *operands, plan=plan: plan.run(operands, ledgers)[0] for plan in plans]
    return lax.switch(values[0], branches, *values[1:]), {}


_BODIES = {jaxprs.REMAT: _run_remat, jaxprs.SCAN: _run_scan, jaxprs.COND: _run_cond}
