"""The command ``xrcam``, which can be told to stop from its first moment on, while it imports libraries for seconds."""

import gc
import os
import signal
from types import FrameType


def main() -> int:
    """Runs the command line of :mod:`xrcam_jax.cli` and returns its exit status."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # Signals that are ignored, as SIGHUP is under nohup, still are.
        if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, _end)
    # Imports and networks make many objects that stay. To look again and again for some that could be freed would take
    # a tenth of the time until the first picture is explained.
    gc.set_threshold(10_000)
    from xrcam_jax.cli import main as run

    status = run()
    # Nor is anything to be freed one by one at the end of the program, which would take a fifth of a second.
    gc.freeze()
    return status


def _end(number: int, frame: FrameType | None) -> None:
    """Ends the program at once: nothing has begun, and libraries that are half imported cannot handle exceptions."""
    how = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
    os.write(2, f"xrcam: {how}\n".encode())
    os._exit(128 + number)


if __name__ == "__main__":
    raise SystemExit(main())
