"""The trained network that comes with the package, see MODEL_CARD.md beside it, and the names of ImageNet's classes."""

from pathlib import Path

MODEL = "skresnet18_narrow"
WEIGHTS = Path(__file__).with_name(f"{MODEL}.safetensors")
#: The names of ImageNet's 1000 classes, a line each: the first lemma of each synset of WordNet 3.0.
IMAGENET = Path(__file__).with_name("imagenet.txt")
