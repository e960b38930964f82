"""The trained network that comes with the package; see MODEL_CARD.md beside it."""

from pathlib import Path

MODEL = "skresnet18_narrow"
WEIGHTS = Path(__file__).with_name(f"{MODEL}.safetensors")
