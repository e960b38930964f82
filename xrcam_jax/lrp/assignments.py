"""Assignments give rules to the operations of a model, by their kind, their name and their depth.

A composite is a tuple of assignments, of which the first that fits an operation names its rule. An operation that none
fits is an error, unless the composite has a ``default``. docs/rules.md shows how to write a rule of one's own.

Example:
  >>> import jax
  >>> import jax.numpy as jnp
  >>> import xrcam_jax as xr
  >>> from xrcam_jax.lrp.composites import Assign, Composite
  >>> from xrcam_jax.lrp.protocol import WEIGHTED_KINDS
  >>> own = Composite(
  ...     (
  ...         Assign(xr.rules.Flat(0), kinds=WEIGHTED_KINDS, first=True),
  ...         Assign(xr.rules.Gamma(0.5), kinds=("convolution",), name="layer[12]*"),
  ...         Assign(xr.rules.Epsilon(0), kinds=("convolution", "dense", "add", "sum")),
  ...         Assign(xr.rules.Pass(), kinds=("activation", "scale", "shift")),
  ...     ),
  ...     default=xr.rules.Gradient(),
  ... )
  >>> def model(x):
  ...     return jax.nn.relu(x @ jnp.ones((2, 2))) @ jnp.array([[1.0], [3.0]])
  >>> jax.vjp(xr.lrp(model, own), jnp.array([[1.0, 3.0]]))[1](jnp.array([[8.0]]))[0].tolist()
  [[4.0, 4.0]]
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from xrcam_jax.lrp.globs import fits_around
from xrcam_jax.lrp.protocol import KINDS, ROLES, OperationKind, Role, Rule, check_kinds, check_rule, keeps_derivative
from xrcam_jax.lrp.sharing_rules import Join


@dataclass(frozen=True)
class Site:
    """A site is one operation of a traced model, as composites and reports of conservation see it.

    Attributes:
      kind: what it does.
      primitive: its JAX primitive. For a function with a derivative of its own that holds a single primitive, as
        ``jax.nn.relu`` does, it is that one (``"max"``).
      scope: the path of named scopes around it, maybe empty. Linen modules set it, and so do the models here.
      mark: the next mark of the model's own downstream, or ``"output"``. In a scan all turns have the same ones.
      first: whether no layer lies between the explained input and it.
      last: whether no layer lies between it and the output.
      source: the user's line, as ``file:line (function)``.
      role: what it is for, if that is known.
      stage: the name of its stage in a report of conservation: the next layer downstream that was asked for.
    """

    kind: OperationKind
    primitive: str
    scope: str
    mark: str
    first: bool
    last: bool
    source: str
    stage: str = "output"
    role: Role | None = None


@dataclass(frozen=True)
class Assign:
    """An assignment gives a rule to the operations that meet all of its conditions.

    Attributes:
      rule: the rule that they get.
      kinds: their kinds or roles; empty means all.
      name: a glob for their mark (``"layer3"``), their scope (``"layer3/0/*"``), or a layer that they are in
         (``"block_3"`` for all in ``encoder/block_3``, see :func:`xrcam_jax.layers`).
      first: whether they must have no layer before them.
      last: whether they must have no layer after them.
      primitives: their primitives; empty means all.

    Raises:
      TypeError: ``rule`` has no method ``relevance``.
      ValueError: there is no such kind.
    """

    rule: Rule
    kinds: tuple[OperationKind | Role, ...] = ()
    name: str = "*"
    first: bool = False
    last: bool = False
    primitives: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_rule(self.rule)
        check_kinds("kinds", self.kinds, (*KINDS, *ROLES))

    def fits(self, site: Site) -> bool:
        """Returns whether ``site`` meets every condition."""
        named = fnmatchcase(site.mark, self.name) or fnmatchcase(site.scope, self.name)
        named = named or fits_around(self.name, site.scope)
        depth = (site.first or not self.first) and (site.last or not self.last)
        kind = not self.kinds or site.kind in self.kinds or site.role in self.kinds
        return kind and named and depth and (not self.primitives or site.primitive in self.primitives)


@dataclass(frozen=True)
class Composite:
    """A composite says which operation gets which rule.

    Attributes:
      assignments: the assignments, of which the first that fits an operation gives its rule.
      default: the rule of operations that no assignment fits. ``Gradient()`` is also one for primitives of which
        nothing is known. Without a default, both are errors.
      fold: whether constants that scale and shift the output of a layer (batch norm at inference, biases) are taken
        into its weights and its bias before the rule is applied.

    Raises:
      TypeError: ``assignments`` holds something else, or ``default`` has no method ``relevance``.
    """

    assignments: tuple[Assign, ...] = ()
    default: Rule | None = None
    fold: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.assignments, tuple) or not all(isinstance(a, Assign) for a in self.assignments):
            raise TypeError(f"assignments must be a tuple of Assign, got {self.assignments!r}")
        if self.default is not None:
            check_rule(self.default)

    def rule(self, site: Site) -> Rule | None:
        """Returns the rule for ``site``, or None if there is none. A join has its own unless an assignment names it."""
        if site.kind != "join":
            return next((a.rule for a in self.assignments if a.fits(site)), self.default)
        without_rules = self.default is not None and keeps_derivative(self.default, "join")
        own = self.default if without_rules else Join()
        return next((a.rule for a in self.assignments if a.kinds and a.fits(site)), own)
