"""Numbers of channels, as networks of many sizes round them."""


def multiple(wanted: float, divisor: int) -> int:
    """Returns the multiple of ``divisor`` that is nearest to a number, but none that is less by more than a tenth.

    Args:
      wanted: the number, above 0.
      divisor: also the least that is returned.

    Returns:
      The multiple.

    Example:
      >>> multiple(88.08, 8), multiple(35.2, 8), multiple(3, 8), multiple(43, 32)
      (88, 32, 8, 64)

    References:
      sandler2018, whose networks are so rounded
    """
    nearest = max(divisor, int(wanted + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * wanted else nearest
