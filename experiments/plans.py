"""What a reproduction trains and measures, as the commands that do it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.statistics import METHODS

#: Patients and frames of the drawn recordings: 108 patients are held out, 54 of them with outlines on 324 frames.
SYNTH = ("--small", "--patients", "360", "--frames", "8640")
SPLIT = "60/10/30"
#: For transfer, few patients to learn from.
FEW = "16/4/80"
IMAGENET = "imagenet"


@dataclass(frozen=True)
class Training:
    """Says how a network is trained.

    Attributes:
      model: its name.
      epochs: how many.
      data: folder of prepared frames.
      options: of ``xrcam train``, besides.
      start: the role whose weights it starts from, ``"imagenet"``, or None: from scratch.
    """

    model: str
    epochs: int
    data: str = "prepared"
    options: tuple[str, ...] = ()
    start: str | None = None


@dataclass(frozen=True)
class Plan:
    """Says what is trained and what is measured.

    Attributes:
      name: a word.
      title: what the page calls it.
      text: a sentence or two on what it is.
      seeds: how often each network is trained.
      trainings: by role, those that others start from first.
      roles: those that are measured.
      main: the role that most claims are about.
      experiments: the roles that each experiment is about, and its options.
      aggregations: ways of making one map of several layers, the mean first.
      data: folder of prepared frames that are judged.
      batch_size: of the trainings.
      pictures: files in the folder of results that the page shows.
    """

    name: str
    title: str
    text: str
    seeds: int
    trainings: Mapping[str, Training]
    roles: tuple[str, ...]
    main: str
    experiments: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
    aggregations: tuple[str, ...] = ("mean",)
    data: str = "prepared"
    batch_size: int = 32
    pictures: tuple[str, ...] = ()

    @property
    def judged(self) -> dict[str, Training]:
        """The trainings that are measured, by role."""
        return {role: self.trainings[role] for role in self.roles}

    def run(self, work: Path, role: str, seed: int) -> Path:
        """Returns the folder of a training."""
        return work / self.name / "runs" / f"{role}_{seed}"

    def runs(self, work: Path, *roles: str) -> list[Path]:
        """Returns the folders of the trainings with some roles."""
        return [self.run(work, role, seed) for role in roles for seed in range(self.seeds)]

    @property
    def alone(self) -> dict[str, str]:
        """The names of runs that are alone in an experiment, by its name; an ensemble is one network as well."""
        named = {name: f"{roles[0]}_0" for name, (roles, _) in self.experiments.items() if len(roles) * self.seeds == 1}
        return named | {name: f"{name}_0" for name in self.experiments if name == "ensemble"}

    def results(self, aggregation: str) -> str:
        """Returns the name of the folder of results with a way of aggregation."""
        return "results" if aggregation == "mean" else f"results_{aggregation}"

    def steps(self, work: Path, imagenet: Path | None) -> list[list[str]]:
        """Returns the commands, one after the other; each goes on where it stopped.

        Args:
          work: folder of all that is made.
          imagenet: weights from ImageNet; None where there are none.

        Raises:
          FileNotFoundError: a training starts from weights that are not there.
        """
        return [*self._data(work), *self._trainings(work, imagenet), *self._experiments(work)]

    def _data(self, work: Path) -> list[list[str]]:
        synthetic = work / "synthetic"
        commands = [] if (synthetic / "annotations.json").exists() else [["synth", str(synthetic), *SYNTH]]
        split = FEW if self.data == "few" else SPLIT
        return [*commands, ["prepare", str(synthetic / "recordings"), str(work / self.data), "--split", split]]

    def _trainings(self, work: Path, imagenet: Path | None) -> list[list[str]]:
        def start_of(role: str, seed: int) -> Path:
            if role != IMAGENET:
                return self.run(work, role, seed) / "best.safetensors"
            if imagenet is None:
                raise FileNotFoundError("weights from ImageNet: pip install 'xrcam-jax[imagenet]'")
            return imagenet

        commands = []
        for seed in range(self.seeds):
            for role, training in self.trainings.items():
                run = self.run(work, role, seed)
                if (run / "best.safetensors").exists():
                    continue
                weights = [] if training.start is None else ["--weights", str(start_of(training.start, seed))]
                schedule = ["--epochs", str(training.epochs), "--batch-size", str(self.batch_size), "--score", "loss"]
                network = ["--model", training.model, *weights, *training.options, "--seed", str(seed)]
                commands.append(["train", str(work / training.data), *network, *schedule, "--out", str(run)])
        return commands

    def _experiments(self, work: Path) -> list[list[str]]:
        data = ["--data", str(work / self.data), "--annotations", str(work / "synthetic" / "annotations.json")]
        commands = []

        def evaluate(experiment: str, roles: tuple[str, ...], options: tuple[str, ...], aggregation: str) -> None:
            results = work / self.name / self.results(aggregation)
            weights = map(str, self.runs(work, *roles))
            chosen = [*options, "--part", "test", "--out", str(results)]
            commands.append(["evaluate", experiment, *data, *chosen, "--weights", *weights])

        for experiment, (roles, options) in self.experiments.items():
            evaluate(experiment, roles, options, "mean")
        for aggregation in self.aggregations[1:]:
            evaluate("segmentation", (self.main,), ("--aggregate", aggregation), aggregation)
        return [*commands, ["report", str(work / self.name / "results")]]


def chapter5(*, confidence: int, axioms: int, sanity: int) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Returns the experiments of chapter 5, with the numbers of frames of those that take long."""
    return {
        "segmentation": (("other", "plain", "sk"), ()),
        "dropout": (("sk_dropout",), ()),
        "confidence": (("sk",), ("--steps", "0", "--limit", str(confidence))),
        "axioms": (("sk",), ("--limit", str(axioms))),
        "sanity": (("other",), ("--limit", str(sanity))),
    }


WAYS = ("mean", "maximum", "weighted", "product")
ROLES = ("plain", "sk", "other", "sk_dropout")

NARROW = Plan(
    name="narrow",
    title="narrow networks",
    text="Networks a quarter as wide as the thesis's, of 18 and 34 layers, each trained five times from scratch.",
    seeds=5,
    trainings={
        "sk": Training("skresnet18_narrow", 5),
        "plain": Training("resnet18_narrow", 5),
        "other": Training("resnet34_narrow", 5),
        "sk_dropout": Training("skresnet18_narrow", 2, options=("--dropout", "0.1"), start="sk"),
    },
    roles=ROLES,
    main="sk",
    experiments=chapter5(confidence=108, axioms=54, sanity=36),
    aggregations=WAYS,
    pictures=("sanity/randomised_*other_0.jpg",),
)


def _large(model: str, role: str) -> dict[str, Training]:
    """Returns the two parts of a training: on small pictures, where all is quicker, then on large ones."""
    small = Training(model, 3, options=("--size", "64"))
    return {
        f"small_{role}": small,
        role: Training(model, 1, options=("--learning-rate", "0.0005"), start=f"small_{role}"),
    }


LARGE = Plan(
    name="large",
    title="the thesis's networks",
    text="The thesis's networks, trained once from scratch: three epochs on frames of 64 x 64, one of 96 x 96.",
    seeds=1,
    trainings={
        **_large("resnet50", "other"),
        **_large("skresnext50_32x4d", "sk"),
        **_large("resnext50_32x4d", "plain"),
        "sk_dropout": Training(
            "skresnext50_32x4d", 1, options=("--learning-rate", "0.0005", "--dropout", "0.1"), start="sk"
        ),
    },
    roles=ROLES,
    main="sk",
    experiments={
        **chapter5(confidence=54, axioms=16, sanity=16),
        "ensemble": (("other", "plain", "sk"), ()),
        "gallery": (("sk",), ("--limit", "24")),
    },
    pictures=("gallery/layers_1.jpg", "gallery/aggregation.jpg", "sanity/randomised_*.jpg"),
)
TRANSFER = Plan(
    name="transfer",
    title="EfficientNet-Lite0",
    text="EfficientNet-Lite0, trained five times on the frames of 58 patients: from ImageNet's weights, three epochs "
    "on frames of 96 x 96, and from scratch, twelve epochs on frames of 48 x 48, then four of 96 x 96.",
    seeds=5,
    trainings={
        "pretrained": Training("tf_efficientnet_lite0", 3, data="few", start=IMAGENET),
        # Six epochs at 96 pixels left the first of them at chance, of which maps say nothing.
        "small_scratch": Training(
            "tf_efficientnet_lite0", 12, data="few", options=("--size", "48", "--learning-rate", "0.003")
        ),
        "scratch": Training("tf_efficientnet_lite0", 4, data="few", start="small_scratch"),
    },
    roles=("pretrained", "scratch"),
    main="pretrained",
    experiments={
        "transfer": (("pretrained", "scratch"), ("--method", ",".join(METHODS), "--limit", "324")),
        "confidence": (("pretrained",), ("--steps", "0", "--limit", "108")),
        "axioms": (("pretrained",), ("--limit", "54")),
    },
    data="few",
    pictures=("transfer/maps_*pretrained_0.jpg", "transfer/maps_*scratch_0.jpg"),
)
PLANS: Mapping[str, Plan] = {plan.name: plan for plan in (NARROW, TRANSFER, LARGE)}
