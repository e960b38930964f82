"""The geometry of a correlation: which pixel each filter tap meets, in plain integers.

A convolution, the cotangent of its input and each phase of a strided one are all correlations. They differ in
geometry alone, so each of them is written here as an :class:`Axis` made from another.
"""

import math
from typing import NamedTuple

import numpy as np

Pair = tuple[int, int]


class Phase(NamedTuple):
    """Describes every ``spread``-th output of an axis.

    Attributes:
      taps: the taps that meet pixels there, and not the zeros between them.
      axis: the axis over which these taps meet them.
    """

    taps: slice
    axis: "Axis"


class Axis(NamedTuple):
    """Describes an axis where output ``i`` and tap ``m`` meet at ``i * stride + m * dilation - before`` of the input.

    Attributes:
      stride: distance between neighbouring outputs.
      dilation: distance between neighbouring taps.
      before: zeros in front of the input; a negative number takes pixels away.
      after: zeros behind the input, likewise.
      spread: distance between neighbouring pixels, with zeros in between.
    """

    stride: int
    dilation: int
    before: int
    after: int
    spread: int = 1

    def outputs(self, pixels: int, taps: int) -> int:
        """Returns the number of outputs of ``taps`` taps on ``pixels`` pixels.

        Example:
          >>> Axis(stride=2, dilation=1, before=1, after=1).outputs(pixels=7, taps=3)
          4
        """
        padded = _reach(pixels, self.spread) + self.before + self.after
        return (padded - _reach(taps, self.dilation)) // self.stride + 1

    def thinned(self, pixels: int, taps: int) -> tuple[slice, "Axis"]:
        """Returns the pixels that any tap meets, and the axis over these alone.

        Where stride and dilation share a factor, all but every factor-th pixel would be multiplied by nothing. Without
        them the derivatives run at the lower resolution too.

        Example:
          >>> pixels, axis = Axis(stride=2, dilation=2, before=1, after=1).thinned(pixels=7, taps=3)
          >>> list(range(7))[pixels], axis
          ([1, 3, 5], Axis(stride=1, dilation=1, before=1, after=1, spread=1))
        """
        factor = math.gcd(self.stride, self.dilation)
        if factor == 1:
            return slice(None), self
        first = -self.before % factor
        stride, dilation, before = self.stride // factor, self.dilation // factor, (self.before + first) // factor
        end = _reach(self.outputs(pixels, taps), stride) + _reach(taps, dilation) - 1
        after = end - before - len(range(first, pixels, factor))
        return slice(first, None, factor), Axis(stride, dilation, before, after)

    def transposed(self, pixels: int, taps: int) -> "Axis":
        """Returns the axis over which the output's cotangent, met by the reversed taps, becomes the input's.

        Stride and spread change places.

        Example:
          >>> Axis(stride=2, dilation=1, before=1, after=1).transposed(pixels=7, taps=3)
          Axis(stride=1, dilation=1, before=1, after=1, spread=2)
        """
        before = _reach(taps, self.dilation) - 1 - self.before
        end = _reach(pixels, self.spread) + _reach(taps, self.dilation) - 1
        after = end - _reach(self.outputs(pixels, taps), self.stride) - before
        return Axis(self.spread, self.dilation, before, after, spread=self.stride)

    def phases(self, pixels: int, taps: int) -> list[Phase]:
        """Returns the phases of an axis of stride 1, or of one without spread that axis itself.

        All are of one length, so the last outputs of some can be too many.
        """
        if self.spread == 1:
            return [Phase(slice(None), self)]
        outputs = -(-self.outputs(pixels, taps) // self.spread)
        return [self._phase(offset, outputs, pixels, taps) for offset in range(self.spread)]

    def window(self, pixels: int, taps: int) -> tuple["Axis", np.ndarray]:
        """Returns an axis over which the taps of all phases meet pixels in one window, and which tap is where in it.

        The axis itself has stride 1 and no dilation; or it has no spread, and is its only phase.

        Returns:
          The axis, and the tap at each place of the window for each phase; ``taps`` where there is none.

        Example:
          >>> axis, tap = Axis(stride=1, dilation=1, before=1, after=1, spread=2).window(pixels=3, taps=3)
          >>> axis, tap.tolist()
          (Axis(stride=1, dilation=1, before=0, after=1, spread=1), [[1, 0], [3, 2]])
        """
        if self.spread == 1:
            return self, np.arange(taps)[:, None]
        first, last = -(self.before // self.spread), (taps - 1 - self.before + self.spread - 1) // self.spread
        # At phase p, the tap m meets a pixel where p + m - before is a multiple of the spread.
        at = self.before - np.arange(self.spread) + self.spread * np.arange(first, last + 1)[:, None]
        outputs = -(-self.outputs(pixels, taps) // self.spread)
        return Axis(1, 1, -first, outputs + last - pixels), np.where((at >= 0) & (at < taps), at, taps)

    def _phase(self, offset: int, outputs: int, pixels: int, taps: int) -> Phase:
        spread, dilation = self.spread, self.dilation
        first = next(m for m in range(spread) if (offset + m * dilation - self.before) % spread == 0)
        met = len(range(first, taps, spread))
        before = (self.before - offset - first * dilation) // spread
        after = outputs - 1 + _reach(met, dilation) - before - pixels
        return Phase(slice(first, None, spread), Axis(1, dilation, before, after))


class Geometry(NamedTuple):
    """Holds all that is static about a correlation besides its shapes.

    Attributes:
      axes: the axes of height and width.
      groups: number of groups of channels, each with filters of its own.
    """

    axes: tuple[Axis, Axis]
    groups: int

    def outputs(self, pixels: tuple[int, ...], taps: tuple[int, ...]) -> Pair:
        """Returns height and width of the output.

        Example:
          >>> axis = Axis(stride=1, dilation=1, before=0, after=0)
          >>> Geometry((axis, axis), groups=1).outputs((5, 7), (3, 3))
          (3, 5)
        """
        height, width = (axis.outputs(*lengths) for axis, *lengths in zip(self.axes, pixels, taps, strict=True))
        return height, width

    def transposed(self, pixels: tuple[int, ...], taps: tuple[int, ...]) -> "Geometry":
        """Returns the geometry of the correlation by which the output's cotangent becomes the input's.

        Example:
          >>> axis = Axis(stride=1, dilation=1, before=0, after=0)
          >>> Geometry((axis, axis), groups=1).transposed((5, 5), (3, 3)).axes[0]
          Axis(stride=1, dilation=1, before=2, after=2, spread=1)
        """
        height, width = (axis.transposed(*lengths) for axis, *lengths in zip(self.axes, pixels, taps, strict=True))
        return Geometry((height, width), self.groups)

    def has_phases(self, taps: tuple[int, ...]) -> bool:
        """Tells whether zeros lie between the pixels, and each output of a row or column meets some pixel.

        Example:
          >>> apart = Axis(stride=1, dilation=1, before=1, after=1, spread=2)
          >>> Geometry((apart, apart), groups=1).has_phases((3, 3))
          True
        """
        each = [
            axis.spread == 1 or axis.stride == 1 < axis.spread <= n for axis, n in zip(self.axes, taps, strict=True)
        ]
        return all(each) and any(axis.spread > 1 for axis in self.axes)


def _reach(size: int, distance: int) -> int:
    """Returns the length from the first to the last of ``size`` places that lie ``distance`` apart."""
    return (size - 1) * distance + 1
