"""``xrcam synth``: draws stand-in recordings."""

from dataclasses import replace

import click

from xrcam_jax.arguments.checks import check_at_least_one, prepare_folder
from xrcam_jax.arguments.config import write_settings
from xrcam_jax.arguments.outputs import alone_in
from xrcam_jax.arguments.parser import Argument, Options, flag
from xrcam_jax.errors import CommandError
from xrcam_jax.runtime.files import clear_leftovers

NAME = "synth"
EXAMPLE = "Example:\n  xrcam synth synthetic --small\n  xrcam prepare synthetic/recordings prepared"


PARAMETERS = (
    Argument("out", option="--out", help="folder to write into"),
    flag("--small", help="20 patients, 960 frames of 96 x 96: a minute's worth"),
    click.Option(["--patients"], type=int, metavar="N", help="in both classes together (34; with --small 20)"),
    click.Option(["--frames"], type=int, metavar="N", help="different ones, in all (about 12,000; 960)"),
    click.Option(
        ["--side", "--size"], type=int, metavar="PIXELS", help="of the square in the round view (230; with --small 96)"
    ),
    click.Option(["--suffix"], default=".avi", metavar="SUFFIX", help="of the videos: .avi, .mp4, .mov or .mkv"),
    click.Option(["--seed"], type=int, default=0, metavar="N", help="the same seed draws the same"),
)


def run(options: Options) -> int:
    """Draws a cohort; returns the exit status."""
    from xrcam_jax.data.cohort import ANNOTATIONS, SMALL, Cohort, write_cohort

    cohort = SMALL if options.small else Cohort()
    try:
        cohort = replace(cohort, suffix=options.suffix, seed=options.seed)
        if options.patients is not None:
            if options.patients < 2:
                raise CommandError(f"--patients: {options.patients} is less than 2, one per class")
            gbm = round(options.patients * cohort.gbm / (cohort.gbm + cohort.meningioma))
            cohort = replace(cohort, gbm=gbm, meningioma=options.patients - gbm)
        if options.frames is not None:
            check_at_least_one("--frames", options.frames)
            videos = cohort.videos * len(cohort.patients)
            cohort = replace(cohort, frames=2 * -(-options.frames // videos))
        if options.side is not None:
            cohort = replace(cohort, side=options.side)
    except ValueError as error:
        raise CommandError(f"--{error}") from None
    prepare_folder("OUT", options.out)
    with alone_in("OUT", options.out):
        clear_leftovers(options.out, [".avi", ".mp4", ".mov", ".mkv"])
        write_settings(options.out, options.repeat)
        folder = write_cohort(options.out, cohort)
    print(
        f"{len(cohort.patients)} patients with {cohort.videos} videos of {cohort.frames} frames each in {folder};\n"
        f"outlines of the drawn structures, for some frames, in {options.out / ANNOTATIONS}."
    )
    return 0
