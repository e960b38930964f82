"""``xrcam report``: makes one page of all experiments."""

import sys

import click

from xrcam_jax.arguments.checks import prepare_folder
from xrcam_jax.arguments.config import write_settings
from xrcam_jax.arguments.parser import PATH, Argument, Options
from xrcam_jax.errors import CommandError
from xrcam_jax.runtime.names import printable

NAME = "report"
EXAMPLE = """Example:
  xrcam report results/
The page needs no network and no other file; any browser opens it."""

PAGE = "report.html"


PARAMETERS = (
    Argument("results", option="--results", help="folder with a folder for each experiment"),
    click.Option(["--out"], type=PATH, metavar="FILE", help=f"the page; RESULTS/{PAGE} by default"),
)


def run(options: Options) -> int:
    """Writes the page; returns the exit status."""
    from xrcam_jax.report.page import page
    from xrcam_jax.report.read import read_experiments, unfinished
    from xrcam_jax.runtime.files import write_whole

    path = options.out or options.results / PAGE
    if path.is_dir():
        raise CommandError(f"--out: {path} is a folder; give the name of a file")
    if options.results.is_dir():
        prepare_folder("--out", path.parent)
    try:
        content = page(read_experiments(options.results))
    except ValueError as error:
        raise CommandError(str(error)) from error
    for name in unfinished(options.results):
        line = f"xrcam report: {name} is not finished; start it again, unless it is running"
        print(printable(line), file=sys.stderr)
    write_whole(path, content)
    write_settings(path, options.repeat)
    print(printable(f"{path}: {len(content) / 1e6:.1f} MB"))
    return 0
