"""Methods with options, written as one name, such as ``rise+samples=500``: on the command line, in files and tables.

The name is a safe name of a file as it is, so that whatever is called after a method can be called after this.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from math import isfinite
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, TypeGuard, Union, get_args, get_origin

import numpy as np

from xrcam_jax.errors import unknown
from xrcam_jax.lrp import composites, seeds
from xrcam_jax.lrp.composites import Composite
from xrcam_jax.titles import SIGN

SEEDS: dict[str, Callable] = {
    each.__name__: each
    for each in (
        seeds.unit,
        seeds.one_hot,
        seeds.contrastive,
        seeds.clrp,
        seeds.clrp_zero_sum,
        seeds.sglrp,
        seeds.sglrp_unit,
        seeds.finer,
    )
}
COMPOSITES: dict[str, Callable[[], Composite]] = {
    each.__name__: each
    for each in (
        composites.relevance_cam,
        composites.epsilon_plus,
        composites.epsilon_plus_flat,
        composites.epsilon_alpha2_beta1,
        composites.gradient,
        composites.guided_backprop,
        composites.deconvnet,
    )
}

#: Types of options that have several values, with that of each.
SEVERAL: dict[Any, type] = {tuple[int, ...]: int, Sequence[int]: int, Sequence[float]: float, Sequence[str]: str}
#: What stands between several values. Names of layers may have an x.
BETWEEN: dict[type, str] = {int: "x", float: "x", str: ":"}

#: What counts as a value of a type: NumPy's numbers, too.
_FITS: dict[Any, Any] = {int: Integral, float: Real, str: str, NoneType: NoneType}


def base(name: str) -> str:
    """Returns the method of a name that may have options.

    Args:
      name: such as ``rise+samples=500``.

    Example:
      >>> from xrcam_jax.explain.variants import base
      >>> base("rise+samples=500"), base("rise")
      ('rise', 'rise')
    """
    return name.partition(SIGN)[0]


def written_options(name: str) -> dict[str, str]:
    """Returns the options of a name, as they are written.

    Args:
      name: such as ``rise+samples=500``.

    Raises:
      ValueError: what stands behind a sign is no option with a value, or an option is there twice.

    Example:
      >>> from xrcam_jax.explain.variants import written_options
      >>> written_options("rise+samples=500+score=probability")
      {'samples': '500', 'score': 'probability'}
    """
    found: dict[str, str] = {}
    for part in name.split(SIGN)[1:]:
        option, equals, text = part.partition("=")
        if not (option and equals and text):
            raise ValueError(f"{name}: expected {base(name)}{SIGN}OPTION=VALUE, found {part!r} behind {SIGN!r}")
        if option in found:
            raise ValueError(f"{name}: the option {option} is given twice")
        found[option] = text
    return found


def value_of(what: str, text: str, kind: Any) -> Any:
    """Returns the value that a text stands for.

    Args:
      what: what an error calls the option.
      text: a word, a name, a whole or decimal number, ``true``, ``false`` or ``none``; several numbers with x between
        them, or names with a colon; a seed or composite is the name of one in ``xr.seeds`` or ``xr.composites``, and
        any other option that is an object is the name of its class, in small letters, for one with all defaults.
      kind: the option's type.

    Raises:
      ValueError: the text is no such value.

    Example:
      >>> from collections.abc import Sequence
      >>> from typing import Literal
      >>> from xrcam_jax.explain.variants import value_of
      >>> value_of("samples", "50", int), value_of("grid", "5x7", int | tuple[int, ...])
      (50, (5, 7))
      >>> value_of("shares", "0.1x0.5", Sequence[float]), value_of("parts", "layer4:fc", Sequence[str])
      ((0.1, 0.5), ('layer4', 'fc'))
      >>> value_of("value of score", "logits", Literal["logit", "probability"])
      Traceback (most recent call last):
      ValueError: unknown value of score 'logits'; did you mean 'logit'? known: logit, probability
    """
    if kind is Composite:
        return _named(what, text, COMPOSITES)()
    if kind is Callable:
        return _named(what, text, SEEDS)
    kinds = _alternatives(kind)
    words: dict[str, Any] = {word: word for each in kinds for word in get_args(each) if get_origin(each) is Literal}
    words |= {name: each() for name, each in _objects(kinds).items()}
    words |= {"none": None} if NoneType in kinds and _values(kind) else {}
    words |= {"true": True, "false": False} if bool in kinds else {}
    if text in words:
        return words[text]
    for one in (int, float, str):
        if one in kinds and (value := _read(text, one)) is not None:
            return value
    for several, each in SEVERAL.items():
        values = tuple(_read(part, each) for part in text.split(BETWEEN[each]))
        if several in kinds and None not in values:
            return values
    if words and not {int, float, *SEVERAL} & set(kinds):
        raise unknown(what, text, list(words))
    raise ValueError(f"{what} must be {_expected(kind, 'with {} between them')}; got {text!r}")


def check_value(what: str, value: Any, kind: Any) -> None:
    """Refuses a value of another type than an option's, as far as that is no array.

    Args:
      what: what an error calls the option.
      value: that is given.
      kind: the option's type.

    Raises:
      ValueError: the value is of none of the types.

    Example:
      >>> from xrcam_jax.explain.variants import check_value
      >>> check_value("steps", 2.5, int | None)
      Traceback (most recent call last):
      ValueError: steps must be a whole number or none; got 2.5
    """
    kinds = _alternatives(kind)
    known = all(each in (bool, *_FITS, *SEVERAL) or get_origin(each) is Literal or _is_object(each) for each in kinds)
    # Arrays may be anything that NumPy makes one of, which a text is not.
    if (known or isinstance(value, str)) and not any(_fits(value, each) for each in kinds):
        raise ValueError(f"{what} must be {_expected(kind, 'in a sequence')}; got {value!r}")


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if kind in SEVERAL:
        several = isinstance(value, Sequence) and not isinstance(value, str)
        return several and all(_fits(each, SEVERAL[kind]) for each in value)
    if kind in _FITS:
        # True is a number for Python, and hardly ever for who gives it.
        return isinstance(value, _FITS[kind]) and not isinstance(value, bool) and (kind is not float or isfinite(value))
    return isinstance(value, bool | np.bool_) if kind is bool else _is_object(kind) and isinstance(value, kind)


def described(options: Mapping[str, Any]) -> list[str]:
    """Returns the options that can be written, each with its values.

    Args:
      options: types by name.

    Example:
      >>> from typing import Literal
      >>> from xrcam_jax.explain.variants import described
      >>> described({"samples": int, "score": Literal["logit", "probability"]})
      ['samples=N', 'score=logit|probability']
    """
    return [f"{name}={values}" for name, kind in options.items() if (values := _values(kind))]


def _named(what: str, text: str, known: Mapping[str, Any]) -> Any:
    if text not in known:
        raise unknown(what, text, known)
    return known[text]


def _read(text: str, kind: type) -> Any:
    """Returns the number or name of a text, or None if it is none."""
    try:
        value = kind(text)
    except ValueError:
        return None
    return value if _fits(value, kind) and value != "" else None


def _alternatives(kind: Any) -> list[Any]:
    if get_origin(kind) in (Union, UnionType):
        return [one for each in get_args(kind) for one in _alternatives(each)]
    return [kind]


def _is_object(kind: Any) -> TypeGuard[type]:
    return isinstance(kind, type) and is_dataclass(kind)


def _objects(kinds: Sequence[Any]) -> dict[str, type]:
    """Returns the types that are dataclasses, by the names by which one with its defaults can be written."""
    return {each.__name__.lower(): each for each in kinds if _is_object(each)}


def _values(kind: Any) -> str:
    if kind is Composite or kind is Callable:
        return "|".join(COMPOSITES if kind is Composite else SEEDS)
    kinds, found = _alternatives(kind), list[str]()
    for each in kinds:
        found += get_args(each) if get_origin(each) is Literal else ()
    signs = {float: "X", int: "N", bool: "true|false", str: "NAME"}
    found += [sign for each, sign in signs.items() if each in kinds and not (each is int and float in kinds)]
    found += dict.fromkeys(BETWEEN[one].join([signs[one]] * 2) for each, one in SEVERAL.items() if each in kinds)
    found += _objects(kinds)
    return "|".join([*found, *(["none"] if NoneType in kinds and found else [])])


def _expected(kind: Any, several: str) -> str:
    """Returns the values of a type in words; of several, how they are put together."""
    known = {"X": "a number", "N": "a whole number", "NAME": "a name"}
    known |= {
        between.join([sign] * 2): f"{words} {several.format(between)}"
        for sign, words, between in (("N", "whole numbers", "x"), ("X", "numbers", "x"), ("NAME", "names", ":"))
    }
    values = _values(kind)
    if not values:
        return "an array, which only Python can give"
    return " or ".join(known.get(value, value) for value in values.split("|"))
