"""Methods with options, written as one name, such as ``rise+samples=500``: on the command line, in files and tables.

The name is a safe name of a file as it is, so that whatever is called after a method can be called after this.
"""

from collections.abc import Callable, Collection, Mapping
from math import isfinite
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

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
      text: a word, a name, a whole or decimal number, whole numbers with x between them, ``true``, ``false`` or
        ``none``; a seed or composite is the name of one in ``xr.seeds`` or ``xr.composites``.
      kind: the option's type.

    Raises:
      ValueError: the text is no such value.

    Example:
      >>> from typing import Literal
      >>> from xrcam_jax.explain.variants import value_of
      >>> value_of("samples", "50", int), value_of("grid", "5x7", int | tuple[int, ...])
      (50, (5, 7))
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
    words |= {"none": None} if NoneType in kinds and _values(kind) else {}
    words |= {"true": True, "false": False} if bool in kinds else {}
    if text in words:
        return words[text]
    try:
        if int in kinds and (float not in kinds or text.lstrip("-").isdigit()):
            return int(text) if "x" not in text or tuple[int, ...] not in kinds else tuple(map(int, text.split("x")))
        if float in kinds and isfinite(float(text)):
            return float(text)
    except ValueError:
        pass
    if str in kinds:
        return text
    if words and not {int, float} & set(kinds):
        raise unknown(what, text, list(words))
    raise ValueError(f"{what} must be {_expected(kind)}; got {text!r}")


def check_value(what: str, value: Any, kind: Any) -> None:
    """Refuses a value of another type than an option's, if that is one of numbers, words, ``True``, ``False`` and None.

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
    # NumPy's numbers count as such. True is a number for Python, and hardly ever for who gives it.
    fits: dict[Any, bool] = {
        bool: isinstance(value, bool | np.bool_),
        int: isinstance(value, Integral) and not isinstance(value, bool),
        float: isinstance(value, Real) and not isinstance(value, bool),
        str: isinstance(value, str),
        NoneType: value is None,
    }
    kinds = _alternatives(kind)
    if all(each in fits or get_origin(each) is Literal for each in kinds):
        words = [word for each in kinds for word in get_args(each)]
        if not (any(fits.get(each, False) for each in kinds) or (isinstance(value, str) and value in words)):
            raise ValueError(f"{what} must be {_expected(kind)}; got {value!r}")


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


def _alternatives(kind: Any) -> list[Any]:
    if get_origin(kind) in (Union, UnionType):
        return [one for each in get_args(kind) for one in _alternatives(each)]
    return [kind]


def _values(kind: Any) -> str:
    if kind is Composite or kind is Callable:
        return "|".join(COMPOSITES if kind is Composite else SEEDS)
    kinds, found = _alternatives(kind), list[str]()
    for each in kinds:
        found += get_args(each) if get_origin(each) is Literal else ()
    signs: Collection[tuple[Any, str]] = (
        (float, "X"),
        (int, "N"),
        (tuple[int, ...], "NxN"),
        (bool, "true|false"),
        (str, "NAME"),
    )
    found += [sign for each, sign in signs if each in kinds and not (each is int and float in kinds)]
    return "|".join([*found, *(["none"] if NoneType in kinds and found else [])])


def _expected(kind: Any) -> str:
    known = {"X": "a number", "N": "a whole number", "NxN": "whole numbers with x between them", "NAME": "a name"}
    values = _values(kind)
    if not values:
        return "an array, which only Python can give"
    return " or ".join(known.get(value, value) for value in values.split("|"))
