"""What equations hold besides operands: the one place that reads JAX's parameters of calls, loops and branches.

JAX does not document these parameters, and they change between versions: JAX 0.10 counts a scan's constants in
``num_consts`` and tells closed jaxprs from open ones, JAX 0.11 does neither. So only what every version from 0.10 to
0.12 offers is read, and what the shapes of the operands tell is taken from them.
"""

import operator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun

#: Names of the primitives whose bodies run as programs of their own.
SCAN, COND, REMAT, WHILE = "scan", "cond", "remat2", "while"
#: Name of the primitive that calls a function with a ``jax.custom_jvp``.
CUSTOM_JVP = "custom_jvp_call"
_JIT = "jit"
#: JAX keeps the class of named scopes to itself.
_SCOPE = type(source_info_util.new_name_stack("scope").stack[0])
#: Calls that mean no more than their body, and the parameter that holds it. JAX 0.11 has ``eval_jaxpr`` where JAX 0.10
#: has ``closed_call``.
_CALLS = {
    _JIT: "jaxpr",
    "closed_call": "call_jaxpr",
    "eval_jaxpr": "call_jaxpr",
    CUSTOM_JVP: "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}


def called(eqn: JaxprEqn) -> ClosedJaxpr | None:
    """Returns what a call can be replaced by.

    Args:
      eqn: any equation of a jaxpr.

    Returns:
      The body of a call, a scan for a while loop that runs a fixed number of times, None for all other equations.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from xrcam_jax.runtime import jaxprs
      >>> (call,) = jax.make_jaxpr(jax.jit(jnp.tanh))(1.0).eqns
      >>> [eqn.primitive.name for eqn in jaxprs.called(call).eqns]
      ['tanh']
    """
    name = eqn.primitive.name
    if name == WHILE:
        return _scan_for(eqn)
    return _closed(eqn.params[_CALLS[name]]) if name in _CALLS else None


def bodies(eqn: JaxprEqn) -> tuple[ClosedJaxpr, ...]:
    """Returns the bodies of remat, scan and cond, and of a function with a ``jax.custom_jvp``.

    Args:
      eqn: any equation of a jaxpr.

    Returns:
      One body, or one for each branch of a cond; none of other equations.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from xrcam_jax.runtime import jaxprs
      >>> choice = jax.make_jaxpr(lambda x: jax.lax.cond(x > 0, jnp.sin, jnp.cos, x))(1.0).eqns[-1]
      >>> sorted(body.eqns[0].primitive.name for body in jaxprs.bodies(choice))
      ['cos', 'sin']
    """
    name = eqn.primitive.name
    if name == COND:
        return tuple(map(_closed, eqn.params["branches"]))
    if name in (SCAN, REMAT):
        return (_closed(eqn.params["jaxpr"]),)
    return (_closed(eqn.params[_CALLS[name]]),) if name == CUSTOM_JVP else ()


def all_bodies(eqn: JaxprEqn) -> list[ClosedJaxpr | Jaxpr]:
    """Returns every jaxpr among the parameters of an equation, whatever they are called.

    Args:
      eqn: any equation of a jaxpr.

    Returns:
      The jaxprs: those of :func:`bodies`, a called function, the condition and the body of a while loop.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from xrcam_jax.runtime import jaxprs
      >>> (loop,) = jax.make_jaxpr(lambda x: jax.lax.while_loop(lambda c: c < 9, lambda c: c * 2, x))(1.0).eqns
      >>> sorted(body.eqns[-1].primitive.name for body in jaxprs.all_bodies(loop))
      ['lt', 'mul']
    """
    parameters = jax.tree.leaves(list(eqn.params.values()))
    return [parameter for parameter in parameters if isinstance(parameter, (ClosedJaxpr, Jaxpr))]


def scopes(name_stack: Any) -> tuple[tuple[str, int | None], ...]:
    """Returns the named scopes of a name stack, the outermost first.

    Transformations leave their names there, too, as in ``vmap(layer1)``; they are left out, and so are the formulas
    that ``jnp.einsum`` puts there. What ``jax.grad`` traces on its way back is in no scope.

    Args:
      name_stack: of the source information of an equation.

    Returns:
      Each scope's name, and a number that is the same for all that was traced in one entry of the scope. A scope that
      was entered as ``a/b`` counts as two, of which the first one has no number.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from xrcam_jax.runtime import jaxprs
      >>> (eqn,) = jax.make_jaxpr(jax.vmap(jax.named_scope("head")(jnp.tanh)))(jnp.ones(2)).eqns
      >>> [name for name, _ in jaxprs.scopes(eqn.source_info.name_stack)]
      ['head']
    """
    found: list[tuple[str, int | None]] = []
    for scope in name_stack.stack:
        if not isinstance(scope, _SCOPE):
            if scope.name == "transpose":
                return ()
        elif "->" not in scope.name:
            *around, name = scope.name.split("/")
            found += [*((each, None) for each in around), (name, id(scope))]
    return tuple(found)


def jitted(eqn: JaxprEqn) -> str | None:
    """Returns the name of the function that an equation calls under ``jax.jit``.

    Args:
      eqn: any equation of a jaxpr.

    Returns:
      The name, or None if the equation is no such call.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from xrcam_jax.runtime import jaxprs
      >>> jaxprs.jitted(jax.make_jaxpr(jax.jit(jnp.tanh))(1.0).eqns[0])
      'tanh'
    """
    return eqn.params["name"] if eqn.primitive.name == _JIT else None


@dataclass(frozen=True)
class Scan:
    """The layout of a scan says which of its operands are what, and how it runs.

    The operands are constants, carried values, and arrays that are scanned over, in this order. The outputs are the
    carried values and what the turns have put out.

    Attributes:
      consts: number of constants.
      carries: number of carried values.
      length: number of turns.
      reverse: whether the last turn comes first.
      unroll: how many turns are written out at a time.
    """

    consts: int
    carries: int
    length: int
    reverse: bool
    unroll: int


def scan(eqn: JaxprEqn) -> Scan:
    """Returns the layout of a scan.

    The counts come from the shapes: what is scanned over, and what is stacked, has one axis more than in the body.

    Args:
      eqn: an equation of the primitive ``SCAN``.

    Returns:
      The layout.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from xrcam_jax.runtime import jaxprs
      >>> turn = lambda carry, x: (carry + x, carry)
      >>> (loop,) = jax.make_jaxpr(lambda xs: jax.lax.scan(turn, 0.0, xs))(jnp.ones(4)).eqns
      >>> layout = jaxprs.scan(loop)
      >>> layout.consts, layout.carries, layout.length
      (0, 1, 4)
    """
    (body,) = bodies(eqn)
    whole = _same_rank(eqn.invars, body.invars)
    carries = _same_rank(eqn.outvars, body.outvars)
    length, reverse, unroll = (eqn.params[key] for key in ("length", "reverse", "unroll"))
    return Scan(whole - carries, carries, length, reverse, unroll)


def remat_options(eqn: JaxprEqn) -> dict[str, Any]:
    """Returns the keyword arguments with which ``jax.checkpoint`` does what a remat does.

    Args:
      eqn: an equation of the primitive ``REMAT``.

    Returns:
      ``prevent_cse`` and ``policy``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from xrcam_jax.runtime import jaxprs
      >>> (remat,) = jax.make_jaxpr(jax.checkpoint(jnp.tanh))(1.0).eqns
      >>> jaxprs.remat_options(remat)
      {'prevent_cse': True, 'policy': None}
    """
    return {key: eqn.params[key] for key in ("prevent_cse", "policy")}


def default_branch(eqn: JaxprEqn) -> int | None:
    """Returns which branch is for all platforms that have none of their own.

    Args:
      eqn: any equation of a jaxpr.

    Returns:
      The place of the branch, or None if it is not the platform that chooses among branches.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from xrcam_jax.runtime import jaxprs
      >>> sine = lambda x: jax.lax.platform_dependent(x, tpu=jnp.sin, default=jnp.cos)
      >>> jaxprs.default_branch(jax.make_jaxpr(sine)(1.0).eqns[-1])
      1
    """
    platforms = eqn.params.get("branches_platforms")
    return platforms.index(None) if platforms else None


#: A while loop is followed this far to find out how often it runs.
_MOST_TURNS = 1_000_000
_COMPARED = {"lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "ne": operator.ne}


def _scan_for(eqn: JaxprEqn) -> ClosedJaxpr | None:
    """Returns a scan that does what a while loop does, if a counter alone tells how often that runs."""
    length = _fixed_length(eqn)
    if not length:
        return None
    consts, start = eqn.params["cond_nconsts"], eqn.params["cond_nconsts"] + eqn.params["body_nconsts"]
    body = jaxpr_as_fun(_closed(eqn.params["body_jaxpr"]))

    def run(*operands: Any) -> Any:
        turn = lambda carry, _: (body(*operands[consts:start], *carry), None)  # noqa: E731
        return jax.lax.scan(turn, list(operands[start:]), None, length)[0]

    return jax.make_jaxpr(run)(*(var.aval for var in eqn.invars))


def _fixed_length(eqn: JaxprEqn) -> int | None:
    """Returns how often a while loop runs, if its condition compares counters that go from a literal in equal steps."""
    condition = _closed(eqn.params["cond_jaxpr"])
    last = condition.eqns[-1] if condition.eqns else None
    if last is None or last.primitive.name not in _COMPARED or last.outvars[0] is not condition.outvars[0]:
        return None
    one, other = (_counter(eqn, condition, atom) for atom in last.invars)
    if one is None or other is None:
        return None
    (a, a_step), (b, b_step), holds = one, other, _COMPARED[last.primitive.name]
    return next((n for n in range(_MOST_TURNS) if not holds(a + n * a_step, b + n * b_step)), None)


def _counter(eqn: JaxprEqn, condition: ClosedJaxpr, atom: Any) -> tuple[int, int] | None:
    """Returns the first value and the step of what a while loop's condition reads, if they are known whole numbers."""
    if not isinstance(atom, Literal):
        if atom not in condition.invars:
            return None
        index, consts = condition.invars.index(atom), eqn.params["cond_nconsts"]
        is_const = index < consts
        first = _integer(eqn.invars[index if is_const else index + eqn.params["body_nconsts"]])
        step = 0 if is_const else _step(eqn, index - consts)
    else:
        first, step = _integer(atom), 0
    return None if first is None or step is None else (first, step)


def _step(eqn: JaxprEqn, carried: int) -> int | None:
    """Returns what a turn of a while loop adds to a carried value, if that is a literal."""
    body = _closed(eqn.params["body_jaxpr"])
    before, after = body.invars[eqn.params["body_nconsts"] + carried], body.outvars[carried]
    if after is before:
        return 0
    made = next((each for each in body.eqns if after in each.outvars), None)
    if made is None or made.primitive.name not in ("add", "sub") or before not in made.invars:
        return None
    one, other = made.invars
    added = _integer(other if one is before else one)
    if made.primitive.name == "add" or added is None:
        return added
    return -added if one is before else None


def _integer(atom: Any) -> int | None:
    is_whole = isinstance(atom, Literal) and jnp.issubdtype(jnp.result_type(atom.val), jnp.integer)
    return int(atom.val) if is_whole and jnp.ndim(atom.val) == 0 else None


def _closed(jaxpr: Any) -> ClosedJaxpr:
    # JAX 0.10 leaves the body of a remat open. From JAX 0.11 on both are one class.
    return jaxpr if isinstance(jaxpr, ClosedJaxpr) else ClosedJaxpr(jaxpr, ())


def _same_rank(outside: Any, inside: Any) -> int:
    return sum(len(a.aval.shape) == len(b.aval.shape) for a, b in zip(outside, inside, strict=True))
