"""The suites are run on tiny networks."""

from tests.tiny_networks import tiny  # noqa: F401, a fixture
