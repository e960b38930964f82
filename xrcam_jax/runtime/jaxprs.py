"""What equations hold besides operands: the one place that reads JAX's parameters of calls, loops and branches.

JAX does not document these parameters, and they change between versions: JAX 0.10 counts a scan's constants in
``num_consts`` and tells closed jaxprs from open ones, JAX 0.11 does neither. So only what every version from 0.10 to
0.12 offers is read, and what the shapes of the operands tell is taken from them.
"""

from dataclasses import dataclass
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

#: Names of the primitives whose bodies run as programs of their own.
SCAN, COND, REMAT = "scan", "cond", "remat2"
#: Name of the primitive that calls a function with a ``jax.custom_jvp``.
CUSTOM_JVP = "custom_jvp_call"
_JIT = "jit"
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
    """The body that a call can be replaced by; None where ``eqn`` is no call."""
    name = eqn.primitive.name
    return _closed(eqn.params[_CALLS[name]]) if name in _CALLS else None


def bodies(eqn: JaxprEqn) -> tuple[ClosedJaxpr, ...]:
    """The bodies of remat, scan and cond, and of a function with a ``jax.custom_jvp``; other equations have none."""
    name = eqn.primitive.name
    if name == COND:
        return tuple(map(_closed, eqn.params["branches"]))
    if name in (SCAN, REMAT):
        return (_closed(eqn.params["jaxpr"]),)
    return (_closed(eqn.params[_CALLS[name]]),) if name == CUSTOM_JVP else ()


def all_bodies(eqn: JaxprEqn) -> list[ClosedJaxpr | Jaxpr]:
    """Every jaxpr among the parameters of ``eqn``, whatever they are called: a while loop's condition and body too."""
    parameters = jax.tree.leaves(list(eqn.params.values()))
    return [parameter for parameter in parameters if isinstance(parameter, (ClosedJaxpr, Jaxpr))]


def jitted(eqn: JaxprEqn) -> str | None:
    """The name of the function that ``eqn`` calls under ``jax.jit``; None where it is no such call."""
    return eqn.params["name"] if eqn.primitive.name == _JIT else None


@dataclass(frozen=True)
class Scan:
    """A scan's layout: its operands are ``consts`` constants, ``carries`` carried values, and what is scanned over.

    Its outputs are the carried values and what each turn put out.
    """

    consts: int
    carries: int
    length: int
    reverse: bool
    unroll: int


def scan(eqn: JaxprEqn) -> Scan:
    """The layout of the scan ``eqn``.

    The counts come from the shapes: what is scanned over, and what is stacked, has an axis more than in the body.
    """
    (body,) = bodies(eqn)
    whole = _same_rank(eqn.invars, body.invars)
    carries = _same_rank(eqn.outvars, body.outvars)
    length, reverse, unroll = (eqn.params[key] for key in ("length", "reverse", "unroll"))
    return Scan(whole - carries, carries, length, reverse, unroll)


def remat_options(eqn: JaxprEqn) -> dict[str, Any]:
    """Keyword arguments for ``jax.checkpoint``, to do with another body what the remat ``eqn`` does with its own."""
    return {key: eqn.params[key] for key in ("prevent_cse", "policy")}


def default_branch(eqn: JaxprEqn) -> int | None:
    """Which branch is for all other platforms; None where it is not the platform that chooses among branches."""
    platforms = eqn.params.get("branches_platforms")
    return platforms.index(None) if platforms else None


def _closed(jaxpr: Any) -> ClosedJaxpr:
    # JAX 0.10 leaves the body of a remat open. From JAX 0.11 on both are one class.
    return jaxpr if isinstance(jaxpr, ClosedJaxpr) else ClosedJaxpr(jaxpr, ())


def _same_rank(outside: Any, inside: Any) -> int:
    return sum(len(a.aval.shape) == len(b.aval.shape) for a, b in zip(outside, inside, strict=True))
