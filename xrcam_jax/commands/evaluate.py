"""``xrcam evaluate NAME``: runs one of the thesis's experiments; each is a study in ``xrcam_jax/studies/``."""

import ast
from functools import partial
from importlib import import_module
from pathlib import Path

import click

import xrcam_jax.studies
from xrcam_jax.arguments.group import Group
from xrcam_jax.arguments.parser import Command, Options
from xrcam_jax.errors import CommandError
from xrcam_jax.studies.parameters import PARAMETERS

NAME = "evaluate"
STUDIES = {
    "frames": "frames of each patient before and after preparation (Figure 3.3); needs no weights",
    "segmentation": "overlap of saliency and outlines, its precision, recall and false positives (Tables 5.1 to 5.4)",
    "dropout": "the same with dropout switched on, many passes (Tables 5.5 and 5.6)",
    "ensemble": "several networks together beside each alone, and whether they agree where they are right (5.4.1)",
    "confidence": "scores with the salient pixels hidden, alone, or in order (Table 5.7, Figure 5.18)",
    "metrics": "any metrics of the field: faithfulness, robustness, localisation, complexity, randomisation, axioms",
    "axioms": "sensitivity and conservation (Tables 5.8 and 5.9)",
    "classes": "correlation of the maps of two classes: are they told apart (section 1.1)",
    "sanity": "maps of networks with random weights (Figures 5.16 and 5.17)",
    "scales": "at which scale a Selective Kernel network looked: its attention, as a table and as maps",
    "cohort": "clusters of the maps of all frames, with an alarm where one is of one patient or device: shortcuts",
    "transfer": "trained from scratch against pre-trained (Figures 4.1 and 4.2)",
    "architectures": "one architecture against another (Table 5.1, Figure 5.2)",
    "planted": "methods on drawn pictures where it is known what the network reads; no --data, no --weights",
    "gallery": "pictures of maps and masks (Figures 5.1, 5.3 to 5.15), and the viewer of the report",
}
EXAMPLE = """Example:
  xrcam evaluate segmentation --data prepared --annotations annotations.json --weights run/ --part all
  xrcam evaluate confidence --data prepared --weights runs/fold* --folds
  xrcam report xrcam_results

xrcam evaluate NAME --help says more of each. Results of all lie in one folder; xrcam report makes a page of them."""


def group() -> Group:
    """Returns the command, a group of studies."""
    return Group(
        NAME,
        STUDIES,
        load,
        what="name",
        help="Run one of the experiments of the thesis: tables, plots and pictures.",
        epilog=EXAMPLE,
    )


def load(name: str) -> click.Command:
    """Returns the command of a study, whose file is read for its help, and loaded when the study is run."""
    source = Path(xrcam_jax.studies.__path__[0], f"{name}.py").read_text(encoding="utf-8")
    about = ast.get_docstring(ast.parse(source))
    return Command(f"{NAME} {name}", PARAMETERS[name], partial(_run, name), help=about)


def _run(name: str, options: Options) -> int:
    from xrcam_jax.runtime.compiling import keep_compiled

    keep_compiled()
    try:
        return import_module(f"xrcam_jax.studies.{name}").run(options)
    except (ImportError, ValueError) as error:
        # The library's errors about bad input name it: they need no traceback.
        raise CommandError(str(error)) from error
