"""What each study can be told. It stands here and not with the studies, so that ``--help`` need not load JAX."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from xrcam_jax.arguments import processes
from xrcam_jax.arguments.aggregation import AGGREGATE
from xrcam_jax.arguments.parser import NAMES, PATH, Argument, Many, flag

#: The thesis's seven methods, in the order of its tables.
SEVEN = ("grad_cam", "grad_cam_pp", "x_grad_cam", "hires_cam", "layer_cam", "relevance_cam", "xrelevance_cam")
#: :data:`xrcam_jax.models.resnet.STAGES`, :data:`xrcam_jax.data.manifest.PARTS` and the names of
#: :data:`xrcam_jax.data.datasets.PLANTED`, whose modules load what is large.
STAGES = ("layer1", "layer2", "layer3", "layer4")
PARTS = ("train", "validation", "test")
SETS = ("pattern", "distractors", "cancelled", "saturated", "rival", "shortcut", "mirror")

_OPTIONS = (
    "options of a method stand behind it, such as xrelevance_cam+axiom=sensitivity; xrcam methods --options lists them"
)
_DATA = click.Option(["--data"], type=PATH, required=True, metavar="PREPARED", help="folder made by xrcam prepare")
_SEED = click.Option(["--seed"], type=int, default=0, metavar="N", help="of all that is random")
_OUT = click.Option(
    ["--out"], type=PATH, default=Path("xrcam_results"), metavar="DIR", help="of all results; each study has a folder"
)
_ANNOTATIONS = click.Option(["--annotations"], type=PATH, metavar="COCO", help="JSON file with outlines (MakeSense.ai)")
_SHOWN = click.Option(["--shown"], type=int, default=3, metavar="N", help="frames of each class that the sheets show")
_SHOWN_OF_CLUSTER = click.Option(
    ["--shown"], type=int, default=4, metavar="N", help="frames of each cluster that the sheets show"
)


#: How many networks a study is about, as the help says it.
ONE, SOME, SEVERAL = (
    "of one network; a run too",
    "of one or several networks; runs too",
    "of two networks or more; runs too",
)


def shared(
    methods: Sequence[str] = SEVEN, layers: Sequence[str] = STAGES, networks: str = SOME, *, folds: bool = True
) -> tuple[click.Parameter, ...]:
    """Returns the options that studies of networks have.

    Args:
      methods: that are compared by default; with none, the study is about no maps, and methods and layers cannot be
        chosen.
      layers: at which they are compared by default.
      networks: how many the study is about. One that is about ``ONE`` is about one method and one layer, too.
      folds: whether the networks may be those of a cross-validation. Where they may not, the help does not show the
        switch, and the study says why it refuses it.
    """
    one = networks == ONE
    return (
        _DATA,
        Many(["--weights"], type=PATH, required=True, metavar="PATH" if one else "PATH ...", help=networks),
        Many(
            ["--model", "--models"],
            metavar="NAME" if one else "NAME ...",
            help=f"of {'the' if one else 'each of the'} weights, where these do not say it themselves",
        ),
        flag(
            "--folds",
            help="the weights are runs of xrcam train --fold, one of each fold for one network after another; each "
            "frame is judged by the run that has not seen its patient, and all frames count together",
            hidden=not folds,
        ),
        _ANNOTATIONS,
        click.Option(["--part"], type=click.Choice((*PARTS, "all")), default="test", help="of the data"),
        click.Option(["--limit"], type=int, metavar="N", help="look at N frames only, spread over the part"),
        *(_maps(methods, layers, one) if methods else ()),
        click.Option(["--batch-size"], type=int, default=8, metavar="N", help="pictures at a time"),
        _SEED,
        _OUT,
        *processes.PARAMETERS,
    )


def _maps(methods: Sequence[str], layers: Sequence[str], one: bool) -> tuple[click.Parameter, ...]:
    """Returns the options of studies of maps, of one method at one layer or of several."""
    method, layer = ("M", "L") if one else ("M[,M]", "L[,L]")
    what = f"{'what makes the maps' if one else 'what to compare'}; {_OPTIONS}"
    return (
        click.Option(["methods", "--method", "--methods"], type=NAMES, default=methods, metavar=method, help=what),
        click.Option(
            ["--layers", "--layer"],
            type=NAMES,
            default=layers,
            metavar=layer,
            help="where it looks" if one else "where they look",
        ),
    )


def _list_metrics(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Prints the metrics and ends the command, whatever else was given."""
    if wanted and not context.resilient_parsing:
        from xrcam_jax.evaluation.listing import lines

        print("\n".join(lines()))
        context.exit()


PARAMETERS: Mapping[str, tuple[click.Parameter, ...]] = {
    "frames": (_DATA, _OUT),
    "segmentation": (*shared(), AGGREGATE),
    "dropout": (
        *shared(),
        AGGREGATE,
        click.Option(["--rate", "--dropout"], type=float, default=0.1, metavar="P", help="of dropout"),
        click.Option(["--passes"], type=int, default=10, metavar="N", help="with other noise each"),
    ),
    "ensemble": (*shared(networks=SEVERAL, folds=False), AGGREGATE),
    "confidence": (
        *shared(),
        AGGREGATE,
        click.Option(
            ["--score"], type=click.Choice(("probability", "logit")), default="probability", help="what drops"
        ),
        click.Option(["--steps"], type=int, default=10, metavar="N", help="of the curves; 0 for none"),
        click.Option(
            ["--floor"], type=float, default=0.05, metavar="S", help="least score of a frame whose drop counts"
        ),
    ),
    "metrics": (
        *shared(),
        AGGREGATE,
        click.Option(
            ["--metrics", "--metric"],
            type=NAMES,
            metavar="M[,M]",
            help="what to measure, the usual ones by default; options of a metric stand behind it: deletion+steps=20",
        ),
        click.Option(
            ["--list"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_list_metrics,
            help="show all metrics with their options, and do nothing else",
        ),
    ),
    "axioms": (*shared(), flag("--conservation", help="leave the sensitivity axiom out")),
    "classes": (
        *shared(),
        click.Option(
            ["--warn"],
            type=float,
            default=0.8,
            metavar="R",
            help="mean correlation above which maps are too much alike",
        ),
    ),
    "sanity": (
        *shared(("xrelevance_cam", "relevance_cam", "grad_cam"), ("layer3",)),
        click.Option(
            ["--draw"], type=click.Choice(["normal", "own"]), default="normal", help="N(0, 1), or as layers start"
        ),
    ),
    "scales": (*shared(()), _SHOWN),
    "cohort": (
        # Its maps are compared with one another, and not with outlines.
        *(each for each in shared(("xrelevance_cam",), ("layer3",), ONE, folds=False) if each is not _ANNOTATIONS),
        click.Option(["--group"], metavar="COLUMN", help='of manifest.csv; "device" where there is one'),
        click.Option(["--clusters"], type=int, metavar="N", help="of each class; by the largest eigengap by default"),
        flag("--together", help="cluster the frames of all classes together"),
        click.Option(["--side"], type=int, default=20, metavar="N", help="pixels across of the maps that are compared"),
        click.Option(["--level"], type=float, default=0.01, metavar="P", help="largest p-value of an alarm, corrected"),
        _SHOWN_OF_CLUSTER,
    ),
    "transfer": shared(("relevance_cam", "xrelevance_cam"), networks=SEVERAL),
    "architectures": shared(networks=SEVERAL),
    "planted": (
        click.Option(["--sets"], type=NAMES, default=SETS, metavar="S[,S]", help="what is drawn"),
        click.Option(
            ["methods", "--method", "--methods"],
            type=NAMES,
            metavar="M[,M]",
            help=f"what to compare, all by default; {_OPTIONS}",
        ),
        click.Option(["--pictures"], type=int, default=16, metavar="N", help="of each set"),
        _SEED,
        _OUT,
    ),
    "gallery": (
        *shared(),
        AGGREGATE,
        _SHOWN,
        click.Option(["--passes"], type=int, metavar="N", help="with dropout, of which the viewer has the variation"),
        click.Option(["--rate", "--dropout"], type=float, metavar="P", help="of dropout in the passes (0.1)"),
    ),
}

_LRP = "lrp, with options behind it or without: lrp+composite=epsilon_plus; xrcam methods --options lists them"
#: Of ``xrcam concepts``, which is about one network and one layer.
CONCEPTS: tuple[click.Parameter, ...] = (
    Argument("data", option="--data", metavar="DATA", help="folder made by xrcam prepare"),
    *(each for each in shared((), networks=ONE) if each.name in ("weights", "model", "part", "limit")),
    click.Option(["--layer", "--layers"], default="layer3", metavar="L", help="whose channels are the concepts"),
    click.Option(
        ["--target"], metavar="CLASS", help="the class to explain, by name or number; by default the labelled"
    ),
    click.Option(["--method", "--methods"], default="lrp", metavar="M", help=_LRP),
    click.Option(["--references"], type=int, default=8, metavar="N", help="frames that are kept of each concept"),
    click.Option(["--per-patient"], type=int, default=2, metavar="N", help="references of one patient at most"),
    click.Option(["--top"], type=int, default=5, metavar="N", help="concepts that count as most relevant of a frame"),
    _SHOWN,
    *(each for each in shared(()) if each.name in ("batch_size", "out")),
    *processes.PARAMETERS,
)
