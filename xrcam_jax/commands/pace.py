"""Measures how fast frames are explained."""

import time
from dataclasses import dataclass, field

from xrcam_jax.pictures.video_kinds import PCLE_FRAME_RATE


@dataclass
class Pace:
    """Counts frames, and those of the first batch apart: only that batch has to wait for the compiler.

    Attributes:
      frames: number of frames that are done.
      begun: when counting began, in seconds of ``time.perf_counter()``.
      first: number of frames of the first batch.
      compiled: when the first batch was explained.
    """

    frames: int = 0
    begun: float = field(default_factory=time.perf_counter)
    first: int = 0
    compiled: float = 0.0

    def explained_first(self, frames: int) -> None:
        """Is called when the first batch is explained and nothing of the second has been begun."""
        self.first, self.compiled = frames, time.perf_counter()

    def describe(self, now: float) -> str:
        """Returns frames, seconds, and frames per second without the first batch, beside what pCLE records."""
        line = f"{self.frames} frames in {now - self.begun:.1f} s"
        rest = self.frames - self.first
        if rest <= 0:
            return f"{line}; too few for a rate: all were in the first batch, for which it is compiled"
        rate = rest / (now - self.compiled)
        verdict = "faster" if rate > PCLE_FRAME_RATE else "not faster"
        return (
            f"{line}; {rate:.1f} frames/s without the first batch, for which it is compiled: "
            f"{verdict} than the {PCLE_FRAME_RATE:g} frames/s of pCLE"
        )
