"""The plan of a relevance pass, made once per trace: which equations of a program run under which rule."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
from jax import Array, lax

from xrcam_jax.lrp import facts
from xrcam_jax.lrp.assignments import Composite, Site
from xrcam_jax.lrp.facts import Fact
from xrcam_jax.lrp.operations import Grouper, Operation, innermost
from xrcam_jax.lrp.program import Equation, Probes, Program, Step, run
from xrcam_jax.lrp.propagate import propagate
from xrcam_jax.lrp.protocol import WEIGHTED_KINDS, Rule, fits, keeps_derivative, receives, wants_bias
from xrcam_jax.runtime import jaxprs


@dataclass(eq=False)
class Plan:
    """A plan says what runs in place of which equation of a program; a site's number is that of its ledger.

    Attributes:
      program: the program.
      steps: by an equation's position, what runs in its place.
    """

    program: Program
    steps: dict[int, Step | None] = field(default_factory=dict)

    def run(self, values: Sequence[Any], probes: Probes) -> tuple[list[Any], dict[str, Array]]:
        """Returns the outputs and the tapped activations, as :func:`xrcam_jax.lrp.program.run` does."""
        return run(self.program, self.steps, values, probes)


@dataclass(frozen=True)
class _Downstream:
    """Holds what is known of a value from what reads it: the next mark and stage, and the layers up to the output."""

    mark: str
    stage: str
    layers: int


def make_plan(
    program: Program,
    composite: Composite,
    explained: Sequence[bool],
    marks: frozenset[str] | None,
    stages: frozenset[str] = frozenset(),
) -> tuple[Plan, list[Site]]:
    """Assigns a rule to every operation that relevance passes on its way to the input or to the chosen marks.

    Args:
      program: the model.
      composite: the rules.
      explained: for each of the program's inputs, whether it is explained.
      marks: where relevance is wanted. None means at the explained inputs.
      stages: the marks at which a stage of a report ends.

    Returns:
      The plan, and every operation under a rule, from the output down.

    Raises:
      NotImplementedError: a primitive on that way has no rule; names it and the user's line.
      ValueError: a rule does not fit the operation that it was assigned to.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.composites import relevance_cam
      >>> from xrcam_jax.lrp.plan import make_plan
      >>> from xrcam_jax.lrp.program import trace
      >>> from xrcam_jax.lrp.transform import program_for
      >>> closed, _ = trace(lambda x: jax.nn.relu(x @ jnp.ones((3, 2))).mean(1), jnp.ones((1, 3)))
      >>> _, sites = make_plan(program_for(closed, relevance_cam()), relevance_cam(), [True], None)
      >>> [site.kind for site in sites]
      ['sum', 'activation', 'dense']
    """
    inputs = [
        Fact(explained=e and program.is_floating(i), seen=e and marks is None)
        for i, e in zip(program.inputs, explained, strict=True)
    ]
    sites: list[Site] = []
    below = [_Downstream("output", "output", 0)] * len(program.outputs)
    return _Planner(program, composite, inputs, marks or frozenset(), stages, sites).plan(below), sites


class _Planner:
    """A planner walks a program backwards, from its outputs to what is explained."""

    def __init__(
        self,
        program: Program,
        composite: Composite,
        inputs: list[Fact],
        marks: frozenset[str],
        stages: frozenset[str],
        sites: list[Site],
    ):
        self.program, self.composite, self.marks, self.stages, self.sites = program, composite, marks, stages, sites
        self.facts = facts.infer(program, inputs, marks)
        self.operations = Grouper(program, self.facts)
        self.below: dict[int, _Downstream] = {}
        self.steps: dict[int, Step | None] = {}

    def plan(self, outputs: Sequence[_Downstream]) -> Plan:
        """Plans all equations whose outputs receive relevance; ``outputs`` is what follows those of the program."""
        for value, downstream in zip(self.program.outputs, outputs, strict=True):
            self._receive(value, downstream)
        for position in reversed(range(len(self.program.equations))):
            equation = self.program.equations[position]
            below = [self.below[v] for v in equation.outputs if v in self.below]
            if below and position not in self.steps:
                self._visit(position, equation, replace(below[0], layers=max(b.layers for b in below)))
        return Plan(self.program, self.steps)

    def _receive(self, value: int, below: _Downstream) -> None:
        """Notes that relevance reaches ``value``."""
        if self.facts[value].seen:
            before = self.below.get(value, below)
            self.below[value] = replace(before, layers=max(before.layers, below.layers))

    def _visit(self, position: int, equation: Equation, below: _Downstream) -> None:
        if equation.eqn.primitive.name in _BODIES:
            self._enter(position, equation, below)
        elif equation.mark is not None:
            # Rules are chosen by the model's own marks alone, so that they are the same whatever layers are looked at.
            mark = equation.mark_of_model or below.mark
            stage = equation.mark if equation.mark in self.stages else below.stage
            self._receive(equation.inputs[0], _Downstream(mark, stage, below.layers))
        elif equation.primitive in facts.STRUCTURE:
            self._pass_through(equation, below)
        else:
            self._assign(position, equation, below)

    def _pass_through(self, equation: Equation, below: _Downstream) -> None:
        for value in equation.inputs:
            self._receive(value, below)

    def _assign(self, position: int, equation: Equation, below: _Downstream) -> None:
        """Puts a rule in the place of the largest operation ending here for which the composite has one."""
        for several in self.operations.of_several(position, fold=self.composite.fold):
            site = self._site(several, below)
            rule = self.composite.rule(site)
            if rule is not None and self._is_wanted(several, rule):
                self._replace(several, site, rule, below)
                return
        # All that can be taken of an equation about which nothing is known is its derivative.
        alone = self.operations.alone(position)
        known = None if alone is None else self._site(alone, below)
        rule = self.composite.default if known is None else self.composite.rule(known)
        if rule is not None and keeps_derivative(rule, known.kind if known else None):
            self._pass_through(equation, below)
        elif alone is None or known is None or rule is None or self._is_ambiguous(alone, rule):
            raise _no_rule(equation, known)
        else:
            self._replace(alone, known, rule, below)

    def _is_wanted(self, operation: Operation, rule: Rule) -> bool:
        """Returns whether ``rule`` is to see ``operation`` as one, rather than its equations one by one."""
        if keeps_derivative(rule, operation.kind):
            return False
        return operation.kind not in WEIGHTED_KINDS or self.composite.fold or wants_bias(rule)

    def _is_ambiguous(self, operation: Operation, rule: Rule) -> bool:
        """Returns whether ``rule`` treats signal and gate differently, and nothing tells the one from the other."""
        gates = [self.facts[v].gate for v in operation.x]
        unknown = operation.equations[-1].primitive == "mul" and gates[0] == gates[-1]
        return operation.kind == "gate" and unknown and not all(receives(rule, len(gates)))

    def _replace(self, operation: Operation, site: Site, rule: Rule, below: _Downstream) -> None:
        """Lets ``rule`` propagate through ``operation``, and walks on above it."""
        _check(rule, site, len(operation.x))
        above = replace(below, layers=below.layers + (site.kind in WEIGHTED_KINDS))
        for value, receiving in zip(operation.x, receives(rule, len(operation.x)), strict=True):
            if receiving:
                self._receive(value, above)
        *parts, last = operation.positions
        self.steps.update(dict.fromkeys(parts))
        self.steps[last] = self._step(operation, rule, len(self.sites))
        self.sites.append(site)

    def _site(self, operation: Operation, below: _Downstream) -> Site:
        first = operation.equations[0]
        return Site(
            kind=operation.kind,
            primitive=innermost(first),
            scope=first.scope,
            mark=below.mark,
            first=max(self.facts[v].depth for v in operation.x) == 0,
            last=below.layers == 0,
            source=first.source,
            stage=below.stage,
        )

    def _step(self, operation: Operation, rule: Rule, number: int) -> Step:
        n = len(operation.x)

        def step(values: Sequence[Any], probes: Probes) -> tuple[Sequence[Any], dict[str, Array]]:
            return [propagate(operation, rule, tuple(values[:n]), tuple(values[n:]), probes.ledgers.get(number))], {}

        return Step((*operation.x, *operation.constants), step)

    def _enter(self, position: int, equation: Equation, below: _Downstream) -> None:
        """Plans the bodies of remat, scan and cond, and builds the construct around them anew."""
        operands = [self.facts[v] for v in equation.inputs]
        inputs = facts.body_inputs(equation, operands, self.marks)
        plans = []
        for body in equation.bodies:
            planner = _Planner(body, self.composite, inputs, self.marks, self.stages, self.sites)
            plans.append(planner.plan([below] * len(body.outputs)))
        self.steps[position] = Step(equation.inputs, partial(_BODIES[equation.eqn.primitive.name], equation, plans))
        self._pass_through(equation, replace(below, layers=below.layers + 1))


def _no_rule(equation: Equation, site: Site | None) -> NotImplementedError:
    return NotImplementedError(
        f"no relevance rule for the primitive {equation.primitive!r} at {equation.source}"
        + (f" (as {site.kind}, in {site.scope or site.mark})" if site else "")
        + "; give the composite an assignment or a default for it, or explain from a mark after it"
    )


def _check(rule: Rule, site: Site, inputs: int) -> None:
    """Refuses a rule that says that it is not for ``site``."""
    where = f"kind {site.kind!r} ({site.primitive} at {site.source})"
    if not fits(rule, site.kind):
        raise ValueError(f"the rule {rule} cannot be used for {where}")
    found = receives(rule, inputs)
    if len(found) != inputs:
        raise ValueError(f"the rule {rule} says which of {len(found)} inputs receive relevance, of {inputs} of {where}")


def _run_remat(equation: Equation, plans: Sequence[Plan], values: Sequence[Any], probes: Probes) -> Any:
    body = jax.checkpoint(plans[0].run, **jaxprs.remat_options(equation.eqn))
    return body(list(values), probes)


def _run_scan(equation: Equation, plans: Sequence[Plan], values: Sequence[Any], probes: Probes) -> Any:
    scan = jaxprs.scan(equation.eqn)
    consts, carries = scan.consts, scan.carries
    ledgers = Probes(ledgers=probes.ledgers)

    def turn(carry: list[Any], xs: list[Any]) -> tuple[list[Any], list[Any]]:
        outputs, _ = plans[0].run([*values[:consts], *carry, *xs], ledgers)
        return outputs[:carries], outputs[carries:]

    start, xs = list(values[consts : consts + carries]), list(values[consts + carries :])
    carry, ys = lax.scan(turn, start, xs, length=scan.length, reverse=scan.reverse, unroll=scan.unroll)
    return [*carry, *ys], {}


def _run_cond(equation: Equation, plans: Sequence[Plan], values: Sequence[Any], probes: Probes) -> Any:
    ledgers = Probes(ledgers=probes.ledgers)
    branches = [lambda *operands, plan=plan: plan.run(operands, ledgers)[0] for plan in plans]
    return lax.switch(values[0], branches, *values[1:]), {}


_BODIES = {jaxprs.REMAT: _run_remat, jaxprs.SCAN: _run_scan, jaxprs.COND: _run_cond}
