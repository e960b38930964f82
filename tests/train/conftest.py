"""Since these tests wait for XLA more than for anything else, what it compiles may be slow."""

import jax
import pytest


@pytest.fixture(autouse=True)
def compiled_in_haste():
    """Compiles with few optimisations while a test runs."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
