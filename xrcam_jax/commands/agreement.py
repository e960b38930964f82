"""``xrcam agreement``: tells how far readers agree, and which method they prefer."""

import sys

import click

from xrcam_jax.arguments.checks import prepare_folder
from xrcam_jax.arguments.config import write_settings
from xrcam_jax.arguments.parser import PATH, Argument, Options
from xrcam_jax.errors import CommandError
from xrcam_jax.runtime.names import printable

NAME = "agreement"
EXAMPLE = """Example:
  xrcam agreement ratings_A.csv ratings_B.csv
  xrcam agreement ratings_A.csv ratings_B.csv ratings_C.csv --weighting quadratic --out agreement
The files are those that the page of xrcam read exports."""

OUT = "xrcam_agreement"
#: Those of xrcam_jax.metrics.agreement, which loads what a help does not need.
WEIGHTINGS = ("none", "linear", "quadratic")


PARAMETERS = (
    Argument("files", nargs=-1, metavar="FILE", help="ratings in CSV; together of two or more readers"),
    click.Option(
        ["--weighting"],
        type=click.Choice(WEIGHTINGS),
        default="none",
        help="what answers that are near count as agreement in Cohen's kappa",
    ),
    click.Option(["--out"], type=PATH, metavar="DIR", default=OUT, help="folder for the tables, CSV and Markdown"),
)


def run(options: Options) -> int:
    """Writes the tables and prints them; returns the exit status."""
    from xrcam_jax.arguments.outputs import alone_in
    from xrcam_jax.arguments.screen import show_markdown
    from xrcam_jax.report.ratings import read_ratings
    from xrcam_jax.runtime.files import write_whole
    from xrcam_jax.studies.readers import agreement_table, cautions, counted, preference_table, rated_by_all

    try:
        found = read_ratings(options.files)
    except ValueError as error:
        raise CommandError(str(error)) from error
    if len(found) < 2:
        raise CommandError(f"FILE: expected ratings of two or more readers, found those of {', '.join(found)} alone")
    prepare_folder("--out", options.out)
    with alone_in("--out", options.out):
        tables = agreement_table(found, options.weighting), preference_table(found)
        for table in tables:
            write_whole(options.out / f"{table.file}.csv", table.csv().encode())
            write_whole(options.out / f"{table.file}.md", table.markdown().encode())
        write_settings(options.out, options.repeat)
    show_markdown("\n".join(table.markdown() for table in tables))
    common = counted(len(rated_by_all(found)))
    print(printable(f"{len(found)} readers; all of them have rated {common}. See {options.out}"))
    for caution in cautions(found):
        print(printable(f"xrcam {NAME}: {caution}"), file=sys.stderr)
    return 0
