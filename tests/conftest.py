"""Eight virtual devices for the sharding tests, and float64 for those that ask for it."""

import gc
import os
from collections import Counter
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

# Most of the suite's time is compilation. A third of that is LLVM's optimisation of code that runs once, and a quarter
# of the rest goes to XLA's new emitters and to code that is split for threads which are busy with other tests. These
# flags may go with another version: an unknown one ends the process.
# XRCAM_TEST_XLA=default leaves XLA as users have it: .ci/run tests the main path that way too.
if os.environ.get("XRCAM_TEST_XLA") != "default":
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"
    if version("jaxlib").startswith("0.10."):
        os.environ["XLA_FLAGS"] += (
            " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
            " --xla_llvm_disable_expensive_passes=true"
        )
# Nothing is kept in the user's cache, nor taken from it.
os.environ["JAX_COMPILATION_CACHE_DIR"] = ""

import jax
import pytest
from hypothesis import settings
from jaxtyping import config as checks

from tests import typechecker

# Each annotation of the package is checked at every call, so that no shape in a signature is mere decoration.
typechecker.install()

# Traces make and drop objects by the million: looking through them all so often took 7 % of the time.
gc.set_threshold(100_000, 50, 100)

jax.config.update("jax_num_cpu_devices", 8)
# Lowered programs do not say by which calls they came about: the checks of annotations are among these.
jax.config.update("jax_traceback_in_locations_limit", 0)
# A dtype that changes by mixing two is a mistake until it is written down.
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Compilation is what takes the time, and it varies: a deadline would only make tests fail at random.
settings.register_profile("short", deadline=None, max_examples=5, derandomize=True)
settings.register_profile("long", settings.get_profile("short"), max_examples=20)
settings.load_profile("short")


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="run the long form: the tests marked long as well")


def pytest_configure(config):
    if config.getoption("--long"):
        settings.load_profile("long")
    config.addinivalue_line("markers", "long: in the long form (--long) only")
    config.addinivalue_line("markers", "long(but=[...]): likewise, but for parameters whose names hold one of these")
    config.addinivalue_line("markers", "long(one_in=n): likewise, but for every n-th set of a test's parameters")


def pytest_collection_modifyitems(config, items):
    """Leaves out what 25 minutes have no room for: large networks, and most of what differs in a parameter only."""
    if config.getoption("--long"):
        return
    sets = Counter()
    left_out = {item.nodeid for item in items if _is_long(item, sets)}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left_out])
    items[:] = [item for item in items if item.nodeid not in left_out]


def _is_long(item, sets):
    """Says whether a test is left out of the short form; ``sets`` counts the sets of parameters of each test."""
    mark = item.get_closest_marker("long")
    if mark is None:
        return False
    name, _, parameters = item.nodeid.partition("[")
    if "one_in" in mark.kwargs:
        sets[name] += 1
        return bool(parameters) and sets[name] % mark.kwargs["one_in"] != 1
    return not any(part in parameters for part in mark.kwargs.get("but", ()))


#: Linux gives a process 65,530 mappings of memory, and a compiled program takes three or more of them. A process that
#: had compiled most of the suite has crashed in LLVM, perhaps because none was left.
MOST_MAPPINGS = 30_000


@pytest.fixture(scope="module", autouse=True)
def _few_mappings():
    """Gives up compiled programs, between files of tests, before there are very many of them."""
    yield
    mappings = Path("/proc/self/maps")
    if mappings.exists() and mappings.read_bytes().count(b"\n") > MOST_MAPPINGS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def float64():
    """Computes in double precision while the test runs."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def mixed():
    """Lets functions of JAX and Flax mix dtypes while the test runs, as they do for users."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@contextmanager
def _unchecked_raises(*expected, _raises=pytest.raises, **options):
    """``pytest.raises`` without checks of annotations: what is to be refused there breaks them on purpose."""
    checked = checks.jaxtyping_disable
    checks.update("jaxtyping_disable", True)
    try:
        with _raises(*expected, **options) as caught:
            yield caught
    finally:
        checks.update("jaxtyping_disable", checked)


pytest.raises = _unchecked_raises
