"""Text that different programs wrote, compared as far as it can agree: to the letter but for the numbers."""

import re

import numpy as np

#: Numbers that stand alone: not those in names, as of frames, layers and files.
NUMBER = re.compile(r"(?<![\w./])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w/])")


def assert_same_but_for_rounding(found: str, expected: str, *, rtol: float, atol: float) -> None:
    """Checks that two texts are the same, but for numbers that are close."""
    assert NUMBER.sub("#", found) == NUMBER.sub("#", expected)
    numbers = [np.array(NUMBER.findall(text), float) for text in (found, expected)]
    np.testing.assert_allclose(*numbers, rtol=rtol, atol=atol, err_msg=found)
