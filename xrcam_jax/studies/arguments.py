"""What is wrong with the options that studies share is refused before anything is read."""

import xrcam_jax as xr
from xrcam_jax.arguments import processes
from xrcam_jax.arguments.checks import check_at_least_one, check_methods, check_names, check_seed
from xrcam_jax.arguments.parser import Options
from xrcam_jax.errors import CommandError
from xrcam_jax.explain.methods import configure
from xrcam_jax.models.resnet import STAGES


def check_arguments(options: Options) -> None:
    """Refuses what can be refused before anything is read.

    Raises:
      CommandError: an option is wrong.
    """
    check_at_least_one("--batch-size", options.batch_size)
    check_seed("--seed", options.seed)
    if options.limit is not None:
        check_at_least_one("--limit", options.limit)
    if options.folds and options.part != "test":
        raise CommandError(
            "--part: with --folds all frames are judged, each as one of the test part of its fold, so leave it out; "
            f"got {options.part!r}"
        )
    if options.methods is not None:
        check_methods("--method", options.methods, xr.METHODS)
        check_names("--layers", options.layers, STAGES)
        without_layers = [method for method in options.methods if configure(method, {}).where == "input"]
        if without_layers:
            raise CommandError(f"--method: no maps of layers are to be had from {', '.join(without_layers)}")
    processes.check(options)
