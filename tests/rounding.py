"""Files of text that different programs wrote, compared as far as they can agree: to the letter but for the numbers."""

import re
from pathlib import Path

import numpy as np

#: Numbers that stand alone: not those in names, as of frames, layers and files.
NUMBER = re.compile(r"(?<![\w./])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w/])")


def assert_same_but_for_rounding(found: Path, expected: Path, *, rtol: float, atol: float) -> None:
    """The texts of two files are the same, but for numbers that are close."""
    texts = [path.read_text() for path in (found, expected)]
    assert NUMBER.sub("#", texts[0]) == NUMBER.sub("#", texts[1])
    numbers = [np.array(NUMBER.findall(text), float) for text in texts]
    np.testing.assert_allclose(*numbers, rtol=rtol, atol=atol, err_msg=found.name)
