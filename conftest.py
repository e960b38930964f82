"""Imports the package as a user does, before pytest imports its files one by one to run their examples."""


def pytest_collection() -> None:
    """Imports the package, in which the function lrp is to hide the folder of that name.

    If pytest imported the folder first, it would put it in the function's place.
    """
    import xrcam_jax  # noqa: F401
