"""``xrcam read``: makes a page on which a reader compares maps, blinded."""

import click

from xrcam_jax.arguments.checks import check_at_least_one, check_names, check_seed, prepare_folder
from xrcam_jax.arguments.config import write_settings
from xrcam_jax.arguments.parser import NAMES, PATH, Argument, Options
from xrcam_jax.errors import CommandError
from xrcam_jax.runtime.names import printable

NAME = "read"
EXAMPLE = """Example:
  xrcam read results/ --method xrelevance_cam,grad_cam --pairs 60
  xrcam agreement ratings_A.csv ratings_B.csv
Any browser opens the page, which needs no network and no other file; each reader exports ratings from it as CSV."""

PAGE = "reader.html"


PARAMETERS = (
    Argument("results", option="--results", help="folder with a folder for each experiment"),
    click.Option(["--out"], type=PATH, metavar="FILE", help=f"the page; RESULTS/{PAGE} by default"),
    click.Option(
        ["--method", "--methods"], type=NAMES, metavar="M[,M]", help="that are compared, each with each; all by default"
    ),
    click.Option(
        ["--layer", "--layers"], default="aggregate", metavar="L", help="whose maps are shown; aggregate: of all layers"
    ),
    click.Option(["--pairs"], type=int, metavar="N", help="show at most so many pairs; all by default"),
    click.Option(["--seed"], type=int, default=0, help="draws the pairs, and for each reader order and sides"),
    click.Option(["--question"], metavar="TEXT", help="what a reader's number from 1 to 5 answers"),
    click.Option(["--experiment"], metavar="NAME", help="folder of the experiment whose frames are shown; the first"),
)


def run(options: Options) -> int:
    """Writes the page; returns the exit status."""
    from xrcam_jax.cam.saliency import AGGREGATE
    from xrcam_jax.report.read import read_experiments
    from xrcam_jax.report.reader import QUESTION, reader_page
    from xrcam_jax.runtime.files import write_whole

    check_seed("--seed", options.seed)
    if options.pairs is not None:
        check_at_least_one("--pairs", options.pairs)
    path = options.out or options.results / PAGE
    if path.is_dir():
        raise CommandError(f"--out: {path} is a folder; give the name of a file")
    if options.results.is_dir():
        prepare_folder("--out", path.parent)
    try:
        frames = {one.folder: one.frames for one in read_experiments(options.results) if one.frames is not None}
        if not frames:
            raise ValueError(f"{options.results}: expected an experiment with frames, such as gallery, found none")
        name = next(iter(frames)) if options.experiment is None else options.experiment
        check_names("--experiment", [name], frames)
        content = frames[name]
        methods = content["methods"] if options.method is None else options.method
        check_names("--method", methods, content["methods"])
        check_names("--layer", [options.layer], [AGGREGATE, *content["layers"]])
        question = options.question or QUESTION
        page = reader_page(
            content, methods, layer=options.layer, most=options.pairs, seed=options.seed, question=question
        )
    except ValueError as error:
        raise CommandError(str(error)) from error
    write_whole(path, page)
    write_settings(path, options.repeat)
    print(printable(f"{path}: {len(page) / 1e6:.1f} MB"))
    return 0
