"""``xrcam evaluate NAME``: runs one of the thesis's experiments; each is a study in ``xrcam_jax/studies/``."""

from collections.abc import Sequence
from importlib import import_module

from xrcam_jax.arguments.checks import check_names
from xrcam_jax.errors import CommandError

STUDIES = {
    "frames": "frames of each patient before and after preparation (Figure 3.3); needs no weights",
    "segmentation": "overlap of saliency and outlines, its precision, recall and false positives (Tables 5.1 to 5.4)",
    "dropout": "the same with dropout switched on, many passes (Tables 5.5 and 5.6)",
    "confidence": "scores with the salient pixels hidden, alone, or in order (Table 5.7, Figure 5.18)",
    "axioms": "sensitivity and conservation (Tables 5.8 and 5.9)",
    "classes": "correlation of the maps of two classes: are they told apart (section 1.1)",
    "sanity": "maps of networks with random weights (Figures 5.16 and 5.17)",
    "scales": "at which scale a Selective Kernel network looked: its attention, as a table and as maps",
    "transfer": "trained from scratch against pre-trained (Figures 4.1 and 4.2)",
    "architectures": "one architecture against another (Table 5.1, Figure 5.2)",
    "planted": "methods on drawn pictures where it is known what the network reads; no --data, no --weights",
    "gallery": "pictures of maps and masks (Figures 5.1, 5.3 to 5.15), and the viewer of the report",
}
USAGE = """usage: xrcam evaluate NAME --data PREPARED --weights PATH [PATH ...] [--folds] [--out DIR] ...

{studies}

xrcam evaluate NAME --help says more of each. Results of all lie in one folder; xrcam report makes a page of them."""


def main(argv: Sequence[str]) -> int:
    """Runs the study that ``argv`` begins with; returns the exit status."""
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE.format(studies="\n".join(f"  {name:14} {what}" for name, what in STUDIES.items())))
        return 0
    check_names("NAME", argv[:1], STUDIES)
    try:
        return import_module(f"xrcam_jax.studies.{argv[0]}").main(argv[1:])
    except (ImportError, ValueError) as error:
        # The library's errors about bad input name it: they need no traceback.
        raise CommandError(str(error)) from error
