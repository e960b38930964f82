"""A command that can be one process of several has these options, and joins the others."""

import click

from xrcam_jax.arguments.parser import Options, flag
from xrcam_jax.errors import CommandError

# How long a process that has ended waits for the others to end too. Processes that finish do so at the same time; one
# that has to wait this long has failed, and the others are told to end.
_SHUTDOWN_SECONDS = 60


#: The options with which a command runs on several machines at once.
PARAMETERS = (
    flag("--distributed", help="one process of several, as the cluster's environment says"),
    click.Option(["--coordinator"], metavar="HOST:PORT", help="of process 0, where the environment does not say"),
    click.Option(["--processes"], type=int, metavar="N", help="with --coordinator: how many there are"),
    click.Option(["--process"], type=int, metavar="I", help="with --coordinator: number of this one, from 0"),
)


def check(options: Options) -> None:
    """Refuses some of the options without the others that they need.

    Args:
      options: with those of :data:`PARAMETERS`.

    Raises:
      CommandError: of the options that go together, some are missing.

    Example:
      >>> from xrcam_jax.arguments.parser import Options
      >>> from xrcam_jax.arguments import processes
      >>> processes.check(Options(coordinator=None, processes=2, process=0))
      Traceback (most recent call last):
      xrcam_jax.errors.CommandError: --coordinator, --processes and --process: give all three or none
    """
    together = [options.coordinator, options.processes, options.process]
    if any(given is not None for given in together) and None in together:
        raise CommandError("--coordinator, --processes and --process: give all three or none")


def several(options: Options) -> bool:
    """Returns whether there are to be other processes.

    Args:
      options: with those of :data:`PARAMETERS`.

    Example:
      >>> from xrcam_jax.arguments.parser import Options
      >>> from xrcam_jax.arguments import processes
      >>> processes.several(Options(distributed=False, coordinator="localhost:1234"))
      True
    """
    return bool(options.distributed or options.coordinator)


def join(options: Options) -> None:
    """Finds the other processes, if there are to be any; it has to come before JAX looks for devices.

    Args:
      options: with those of :data:`PARAMETERS`.

    Raises:
      CommandError: the others cannot be found.

    Example:
      >>> from xrcam_jax.arguments.parser import Options
      >>> from xrcam_jax.arguments import processes
      >>> processes.join(Options(distributed=False, coordinator=None))  # alone: there is nothing to do
    """
    if not several(options):
        return
    import jax

    from xrcam_jax.runtime.devices import wait_for_all

    # JAX would take SIGTERM for itself, to tell programs that save something at its coming; these just end.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            options.coordinator, options.processes, options.process, shutdown_timeout_seconds=_SHUTDOWN_SECONDS
        )
    except (ValueError, RuntimeError) as error:
        raise CommandError(f"--distributed: {str(error).splitlines()[0]}") from error
    # At the first meeting the processes connect, for which JAX allows half a minute. Later meetings may take longer.
    wait_for_all("joined")
