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
from xrcam_jax.lrp.grouping import Grouper, innermost
from xrcam_jax.lrp.operations import Operation
from xrcam_jax.lrp.primitives import STRUCTURE
from xrcam_jax.lrp.program import Equation, Probes, Program, Step, run
from xrcam_jax.lrp.propagate import absorb, propagate
from xrcam_jax.lrp.protocol import WEIGHTED_KINDS, Rule, fits, keeps_derivative, receives, wants_bias
from xrcam_jax.lrp.roles import role_of
from xrcam_jax.runtime import jaxprs


@dataclass(eq=False)
class Plan:
    """A plan says what runs in place of which equation of a program; a site's number is that of its ledger.

    Attributes:
      program: the program.
      steps: by an equation's position, what runs in its place.
      constants: by the place of an output that is constant, the number of its site: what arrives there ends there.
    """

    program: Program
    steps: dict[int, Step | None] = field(default_factory=dict)
    constants: dict[int, int] = field(default_factory=dict)

    def run(self, values: Sequence[Any], probes: Probes) -> tuple[list[Any], dict[str, Array]]:
        """Returns the outputs and the tapped activations, as :func:`xrcam_jax.lrp.program.run` does."""
        outputs, activations = run(self.program, self.steps, values, probes)
        return _absorbing(outputs, self.constants, probes), activations


def _absorbing(values: Sequence[Any], constants: dict[int, int], probes: Probes) -> list[Any]:
    """Returns ``values``, of which those in ``constants`` account for the relevance that ends there."""
    return [
        absorb(value, probes.ledgers[constants[i]]) if constants.get(i) in probes.ledgers else value
        for i, value in enumerate(values)
    ]


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
      NotImplementedError: a primitive on that way has no rule or no derivative; names it and the user's line.
      ValueError: a rule does not fit the operation that it was assigned to.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.composites import relevance_cam
      >>> from xrcam_jax.lrp.plan import make_plan
      >>> from xrcam_jax.lrp.program import trace
      >>> from xrcam_jax.lrp.planned import program_for
      >>> closed, _ = trace(lambda x: jax.nn.relu(x @ jnp.ones((3, 2))).mean(1), jnp.ones((1, 3)))
      >>> _, sites = make_plan(program_for(closed, relevance_cam()), relevance_cam(), [True], None)
      >>> [site.kind for site in sites]
      ['sum', 'activation', 'dense']
    """
    inputs = [
        Fact(depends=e, explained=e and program.is_inexact(i), seen=e and marks is None)
        for i, e in zip(program.inputs, explained, strict=True)
    ]
    sites: list[Site] = []
    below: list[_Downstream | None] = [_Downstream("output", "output", 0)] * len(program.outputs)
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

    def plan(self, outputs: Sequence[_Downstream | None]) -> Plan:
        """Plans all equations whose outputs receive relevance.

        Args:
          outputs: what follows the outputs of the program; None for those that receive no relevance.
        """
        constants = {}
        for place, (value, below) in enumerate(zip(self.program.outputs, outputs, strict=True)):
            if below is not None:
                self._receive(value, below)
                if self._is_constant(value) and not self.marks:
                    constants[place] = self._constant_site("output", "", below)
        for position in reversed(range(len(self.program.equations))):
            equation = self.program.equations[position]
            reached = [self.below[v] for v in equation.outputs if v in self.below]
            if reached and position not in self.steps:
                self._visit(position, equation, replace(reached[0], layers=max(b.layers for b in reached)))
        return Plan(self.program, self.steps, constants)

    def _is_constant(self, value: int) -> bool:
        return self.program.is_inexact(value) and not self.facts[value].explained

    def _constant_site(self, primitive: str, source: str, below: _Downstream) -> int:
        """Notes a site where relevance ends at a constant, and returns its number."""
        last = below.layers == 0
        self.sites.append(Site("join", primitive, "", below.mark, False, last, source, stage=below.stage))
        return len(self.sites) - 1

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
        elif equation.primitive in STRUCTURE and not self._needs_rule(position):
            self._pass_through(equation, below)
        elif equation.has_derivative:
            self._assign(position, equation, below)
        else:
            raise _no_derivative(equation)

    def _pass_through(self, equation: Equation, below: _Downstream) -> None:
        for value in equation.inputs:
            self._receive(value, below)

    def _needs_rule(self, position: int) -> bool:
        """Returns whether an equation that rearranges values does more: a choice as ReLU's, or a join of constants."""
        return self.operations.activation(position) is not None or self.operations.joins_constants(position)

    def _assign(self, position: int, equation: Equation, below: _Downstream) -> None:
        """Puts a rule in the place of the largest operation ending here for which the composite has one."""
        for several in self.operations.of_several(position, fold=self.composite.fold):
            site = self._site(several, below)
            rule = self.composite.rule(site)
            if rule is not None and self._is_wanted(several, rule):
                self._replace(several, site, rule, below)
                return
        alone = self.operations.alone(position)
        if alone is not None and alone.kind == "shift" and any(self.facts[v].depends for v in alone.constants):
            # What x itself shifts it by, such as the maximum in a log-sum-exp, is no bias that could keep a share.
            self._pass_through(equation, below)
            return
        # All that can be taken of an equation about which nothing is known is its derivative.
        known = None if alone is None else self._site(alone, below)
        rule = self.composite.default if known is None else self.composite.rule(known)
        if rule is not None and alone is not None and self._is_ambiguous(alone, rule):
            if self.composite.default is None:
                raise _ambiguous(equation, rule)
            rule = self.composite.default
        if rule is not None and keeps_derivative(rule, known.kind if known else None):
            self._pass_through(equation, below)
        elif alone is None or known is None or rule is None:
            raise _no_rule(equation, known)
        else:
            self._replace(alone, known, rule, below)

    def _is_wanted(self, operation: Operation, rule: Rule) -> bool:
        """Returns whether ``rule`` is to see ``operation`` as one, rather than its equations one by one."""
        if keeps_derivative(rule, operation.kind):
            return False
        return not operation.biased or self.composite.fold or wants_bias(rule)

    def _is_ambiguous(self, operation: Operation, rule: Rule) -> bool:
        """Returns whether ``rule`` treats signal and gate differently, and nothing tells the one from the other."""
        gates = [self.operations.gating(operation.kind, v) for v in operation.x]
        unknown = operation.equations[-1].primitive != "div" and gates[0] == gates[-1]
        return operation.kind in ("gate", "matmul") and unknown and not all(receives(rule, len(gates)))

    def _replace(self, operation: Operation, site: Site, rule: Rule, below: _Downstream) -> None:
        """Lets ``rule`` propagate through ``operation``, and walks on above it."""
        _check(rule, site, len(operation.x))
        above = replace(below, layers=below.layers + (site.kind in WEIGHTED_KINDS))
        for value, receiving in zip(operation.x, receives(rule, len(operation.x)), strict=True):
            if receiving:
                self._receive(value, above)
        self.steps.update(dict.fromkeys(self.operations.hidden(operation)))
        self.steps[operation.positions[-1]] = self._step(operation, rule, len(self.sites))
        self.sites.append(site)

    def _site(self, operation: Operation, below: _Downstream) -> Site:
        # What gates itself is named by the product that does it, and a layer by its product, which comes first.
        several = operation.kind in ("activation", "norm") and len(operation.equations) > 1
        named = operation.equations[-1 if several else 0]
        return Site(
            kind=operation.kind,
            primitive=innermost(named),
            scope=named.scope,
            mark=below.mark,
            first=max(self.facts[v].depth for v in operation.x) == 0,
            last=below.layers == 0,
            source=named.source,
            role=role_of(self.operations, operation),
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
        receiving = [below if self.facts[v].seen else None for v in equation.outputs]
        planners = [
            _Planner(body, self.composite, inputs, self.marks, self.stages, self.sites) for body in equation.bodies
        ]
        plans = [planner.plan(receiving) for planner in planners]
        # A loop that begins with a constant and carries explained values gives relevance to that constant.
        offset = len(equation.inputs) - len(inputs)
        begins = {
            offset + i: self._constant_site(equation.primitive, equation.source, below)
            for i, fact in enumerate(inputs)
            if fact.explained and self._is_constant(equation.inputs[offset + i]) and not self.marks
        }
        again = partial(_BODIES[equation.eqn.primitive.name], equation, plans)

        def step(values: Sequence[Any], probes: Probes) -> Any:
            return again(_absorbing(values, begins, probes), probes)

        self.steps[position] = Step(equation.inputs, step)
        self._pass_through(equation, replace(below, layers=below.layers + 1))


def _no_rule(equation: Equation, site: Site | None) -> NotImplementedError:
    return NotImplementedError(
        f"no relevance rule for the primitive {equation.primitive!r} at {equation.source}"
        + (f" (as {site.kind}, in {site.scope or site.mark})" if site else "")
        + "; give the composite an assignment or a default for it, or explain from a mark after it"
    )


def _no_derivative(equation: Equation) -> NotImplementedError:
    return NotImplementedError(
        f"JAX has no derivative of the primitive {equation.primitive!r} at {equation.source} with window_dilation="
        f"{equation.eqn.params['window_dilation']}; pool maxima by xrcam_jax.ops.dilated_max_pool.dilated_max_pool, "
        "or explain from a mark after it"
    )


def _ambiguous(equation: Equation, rule: Rule) -> NotImplementedError:
    return NotImplementedError(
        f"no relevance rule for the primitive {equation.primitive!r} at {equation.source}: {rule} gives all to one "
        "factor, and nothing tells signal from gate; give the composite a rule that shares, as Gate(0.5, 0.5) or "
        "Matmul(0.5, 0.5), or use composites.attn_lrp()"
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
