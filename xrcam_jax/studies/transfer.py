"""Does a network that was pre-trained look at something else than one trained from scratch (Figures 4.1 and 4.2)?

    xrcam train prepared --model skresnext50_32x4d --out scratch
    xrcam train prepared --model skresnext50_32x4d --weights timm/skresnext50_32x4d.ra_in1k --out pretrained
    xrcam evaluate transfer --data prepared --annotations annotations.json --weights scratch/ pretrained/ --part all

The study writes the accuracy of each network, the pooled IoU at all layers, and Relevance-CAM of each layer side by
side. Each network costs what ``segmentation`` does with one method.
"""

from xrcam_jax.arguments.parser import Options
from xrcam_jax.errors import CommandError
from xrcam_jax.studies.compare import compare
from xrcam_jax.studies.folds import number_of_networks
from xrcam_jax.studies.study import open_study

NAME = "transfer"


def run(options: Options) -> int:
    """Runs the study; returns the exit status."""
    if number_of_networks(options) < 2:
        raise CommandError("--weights: at least two are to be compared, such as from scratch and pre-trained")
    with open_study(NAME, options) as study:
        compare(
            study,
            title="From scratch against pre-trained",
            text="The same frames, networks that started from different weights.",
            order=7,
            shown=[(study.methods[0], layer) for layer in study.layers],
        )
    return 0
