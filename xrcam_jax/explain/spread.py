"""How values spread over passes, from one sweep over them: memory does not grow with the passes.

The mean and the squares are carried on as Chan, Golub and LeVeque do (chan1983): of n values with mean m and squared
deviations s, and k more with mean m' and s', the deviations are s + s' + (m' - m)² n k / (n + k).

References:
  chan1983
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from xrcam_jax.runtime.brief import brief


class Spread(NamedTuple):
    """Holds how a value spreads over n passes; all arrays have the value's shape.

    Attributes:
      mean: over the passes.
      deviation: their standard deviation, with n - 1 in the denominator.
      low: the smallest value of all passes.
      high: the largest.
      quantiles: by their level in [0, 1], those that were asked for.
    """

    mean: Float[Array, "*shape"]
    deviation: Float[Array, "*shape"]
    low: Float[Array, "*shape"]
    high: Float[Array, "*shape"]
    quantiles: dict[float, Float[Array, "*shape"]]

    def __repr__(self) -> str:
        return brief(self)

    @property
    def variation(self) -> Float[Array, "*shape"]:
        """Returns the coefficient of variation, deviation / |mean|; 0 where the mean is 0.

        A map is 0 in the mean only where it is 0 in each pass: there the passes agree. It is at most √n, where a single
        pass shows anything.
        """
        size = jnp.abs(self.mean)
        return jnp.where(size > 0, self.deviation / jnp.where(size > 0, size, 1), 0)


class Moments(NamedTuple):
    """Holds what is known of the passes so far: trees of the values' structure.

    Attributes:
      passes: how many there were.
      mean: of their values.
      squares: the sum of the squared deviations from the mean.
      low: the smallest values.
      high: the largest values.
    """

    passes: Float[Array, ""]
    mean: PyTree
    squares: PyTree
    low: PyTree
    high: PyTree


def no_passes(like: PyTree) -> Moments:
    """Returns what is known before the first pass.

    Args:
      like: a tree of arrays, or of their shapes, as each pass gives it.

    Returns:
      Means and squares of 0, and an empty range.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain.spread import no_passes
      >>> [float(a) for a in no_passes(jnp.float32(7))]
      [0.0, 0.0, 0.0, inf, -inf]
    """

    def full(value: float) -> PyTree:
        return jax.tree.map(lambda a: jnp.full(a.shape, value, jnp.promote_types(a.dtype, jnp.float32)), like)

    return Moments(jnp.float32(0), full(0), full(0), full(jnp.inf), full(-jnp.inf))


def with_more(before: Moments, values: PyTree) -> Moments:
    """Returns what is known after some more passes.

    Args:
      before: what was known.
      values: of k passes, each array with a leading axis of length k.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain.spread import no_passes, with_more
      >>> after = with_more(no_passes(jnp.float32(0)), jnp.array([1.0, 3.0]))
      >>> [float(a) for a in with_more(after, jnp.array([5.0]))]
      [3.0, 3.0, 8.0, 1.0, 5.0]

    References:
      chan1983
    """
    k = len(jax.tree.leaves(values)[0])
    n = before.passes
    # Around the first value, so that the mean of equal values is that value and their deviations are 0.
    mean = jax.tree.map(lambda a: a[0] + (a - a[0]).mean(0), values)
    squares = jax.tree.map(lambda a, m: jnp.square(a - m).sum(0), values, mean)
    return Moments(
        n + k,
        jax.tree.map(lambda m, new: m + (new - m) * (k / (n + k)), before.mean, mean),
        jax.tree.map(
            lambda s, new, m, m_new: s + new + jnp.square(m_new - m) * (n * k / (n + k)),
            before.squares,
            squares,
            before.mean,
            mean,
        ),
        jax.tree.map(lambda low, a: jnp.minimum(low, a.min(0)), before.low, values),
        jax.tree.map(lambda high, a: jnp.maximum(high, a.max(0)), before.high, values),
    )


def spread(found: Moments, levels: Sequence[float] = (), values: PyTree = None) -> PyTree:
    """Returns how the values of all passes spread.

    Args:
      found: what is known of them.
      levels: of the quantiles that are wanted, each in [0, 1].
      values: of all passes, with a leading axis of the passes; needed for quantiles alone.

    Returns:
      The values' tree with a :class:`Spread` in the place of each array.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain.spread import no_passes, spread, with_more
      >>> values = jnp.array([1.0, 3.0, 8.0])
      >>> found = spread(with_more(no_passes(jnp.float32(0)), values), (0.5,), values)
      >>> float(found.mean), round(float(found.deviation), 3), float(found.quantiles[0.5])
      (4.0, 3.606, 3.0)
    """

    def one(mean: Array, squares: Array, low: Array, high: Array, each: Array | None = None) -> Spread:
        deviation = jnp.sqrt(squares / (found.passes - 1))
        cut = jnp.quantile(each, jnp.asarray(levels), axis=0) if each is not None else ()
        # Rounding may carry the mean an ulp beyond all values, and maps out of [0, 1].
        return Spread(jnp.clip(mean, low, high), deviation, low, high, dict(zip(levels, cut, strict=bool(levels))))

    also = (values,) if levels else ()
    return jax.tree.map(one, found.mean, found.squares, found.low, found.high, *also)


def over_passes(one: Callable[[PyTree], PyTree], passes: PyTree, together: int, levels: Sequence[float] = ()) -> PyTree:
    """Returns how what a function gives spreads over passes, as one loop that compiled code can have inside.

    Args:
      one: (what makes a pass differ) -> a tree of arrays.
      passes: what makes them differ, with a leading axis of the passes.
      together: how many passes run at a time, by ``jax.vmap`` if more than one; a divisor of their number.
      levels: of the quantiles that are wanted, for which alone the values of all passes are kept.

    Returns:
      The function's tree with a :class:`Spread` in the place of each array.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain.spread import over_passes
      >>> float(over_passes(lambda x: x**2, jnp.array([0.0, 1.0, 2.0, 3.0]), together=2).mean)
      3.5
    """

    def chunk(before: Moments, some: PyTree) -> tuple[Moments, PyTree]:
        if together == 1:
            values = jax.tree.map(lambda a: a[None], one(jax.tree.map(lambda a: a[0], some)))
        else:
            values = jax.vmap(one)(some)
        return with_more(before, values), values if levels else None

    chunks = jax.tree.map(lambda a: a.reshape(-1, together, *a.shape[1:]), passes)
    like = jax.eval_shape(one, jax.tree.map(lambda a: a[0], passes))
    found, values = jax.lax.scan(chunk, no_passes(like), chunks)
    return spread(found, levels, jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), values))
