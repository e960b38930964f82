"""Operations with derivatives of their own, because XLA's CPU backend is slow at the usual ones, or JAX has none.

Each gives the value that its counterpart in :mod:`jax.lax` or Flax gives, on every kind of device. Each stays one
equation of a traced program (see :mod:`xrcam_jax.ops.operation`), so that relevance takes it for one operation.

References:
  ioffe2015, lavin2016
"""
