"""Options of a command that can be one process of several."""

import argparse

from xrcam_jax.errors import CommandError

# How long a process that has ended waits for the others to do so too: those that finish do at the same time, so who
# waits has failed, and the others are told to end.
_SHUTDOWN_SECONDS = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options, which are all for the command to run on several machines at once."""
    parser.add_argument(
        "--distributed", action="store_true", help="one process of several, as the cluster's environment says"
    )
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0, where the environment does not say")
    parser.add_argument("--processes", type=int, metavar="N", help="with --coordinator: how many there are")
    parser.add_argument("--process", type=int, metavar="I", help="with --coordinator: number of this one, from 0")


def check(options: argparse.Namespace) -> None:
    """Refuses half of what is needed."""
    together = [options.coordinator, options.processes, options.process]
    if any(given is not None for given in together) and None in together:
        raise CommandError("--coordinator, --processes and --process: give all three or none")


def several(options: argparse.Namespace) -> bool:
    """Whether there are to be other processes."""
    return bool(options.distributed or options.coordinator)


def join(options: argparse.Namespace) -> None:
    """Finds the other processes, if there are to be any; before JAX looks for devices."""
    if not several(options):
        return
    import jax

    from xrcam_jax.runtime.devices import wait_for_all

    try:
        jax.distributed.initialize(
            options.coordinator, options.processes, options.process, shutdown_timeout_seconds=_SHUTDOWN_SECONDS
        )
    except (ValueError, RuntimeError) as error:
        raise CommandError(f"--distributed: {str(error).splitlines()[0]}") from error
    # Connections are made at the first meeting, for which there is half a minute; later ones may take longer.
    wait_for_all("joined")
