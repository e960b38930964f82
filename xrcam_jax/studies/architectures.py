"""Does Selective Kernel help the explanation (Table 5.1, Figure 5.2)?

    xrcam evaluate architectures --data prepared --annotations annotations.json --weights resnext/ skresnext/ --part all

The study writes the accuracy of each network, the pooled IoU of all methods at all layers, and their maps at the last
layer side by side. Each network costs what ``segmentation`` does.
"""

from xrcam_jax.arguments.parser import Options
from xrcam_jax.errors import CommandError
from xrcam_jax.studies.compare import compare
from xrcam_jax.studies.folds import number_of_networks
from xrcam_jax.studies.study import open_study

NAME = "architectures"


def run(options: Options) -> int:
    """Runs the study; returns the exit status."""
    if number_of_networks(options) < 2:
        raise CommandError("--weights: two networks or more are to be compared")
    with open_study(NAME, options) as study:
        compare(
            study,
            title="Architectures side by side",
            text="The same frames and methods, networks of different architecture.",
            order=6,
            shown=[(method, study.layers[-1]) for method in study.methods],
        )
    return 0
