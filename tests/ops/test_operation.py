"""Operations are one equation under a name of the package's own, and the function itself otherwise."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from xrcam_jax.ops.operation import operation


@partial(operation, static_argnames="power")
def raised(x, *, power):
    """What it is for."""
    return (x**power).sum()


def test_it_is_one_equation_by_the_functions_name_wherever_it_is_called():
    equations = jax.make_jaxpr(lambda x: raised(x, power=2) + raised(x + 1, power=3))(jnp.ones(3)).eqns
    calls = [equation for equation in equations if equation.primitive.name == "jit"]
    assert [call.params["name"] for call in calls] == ["xrcam_jax.raised"] * 2


def test_a_users_function_of_that_name_is_another():
    (equation,) = jax.make_jaxpr(jax.jit(lambda x: raised.__wrapped__(x, power=2)))(jnp.ones(3)).eqns
    assert not equation.params["name"].startswith("xrcam_jax.")


def test_name_and_docstring_stay():
    assert (raised.__name__, raised.__doc__) == ("raised", "What it is for.")


def test_values_and_derivatives_are_the_functions():
    x = jnp.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(raised(x, power=3), 36)
    np.testing.assert_allclose(jax.grad(partial(raised, power=3))(x), [3, 12, 27])
