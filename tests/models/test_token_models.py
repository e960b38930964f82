"""Vision transformers, Swin transformers and ConvNeXt against what timm computes with the same weights."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

import xrcam_jax as xr
from tests import oracle
from xrcam_jax.attribution.case import Case
from xrcam_jax.cam.channel_cams import ablated_scores
from xrcam_jax.checkpoints.convert import flat_state, from_timm, timm_tensors, to_timm
from xrcam_jax.checkpoints.positions import picture_size, resampled
from xrcam_jax.checkpoints.save import save_timm
from xrcam_jax.checkpoints.verify import digest
from xrcam_jax.explain.functional import as_function
from xrcam_jax.models.convnext_specs import ConvNextSpec
from xrcam_jax.models.draws import OnlyShapes
from xrcam_jax.models.specs import SPECS, NetworkSpec
from xrcam_jax.models.swin_specs import SwinSpec
from xrcam_jax.models.variant import Variant
from xrcam_jax.models.vit_specs import VitSpec
from xrcam_jax.pictures.preprocessing import Preprocessing

pytestmark = pytest.mark.long(one_in=3)

PICTURES = Preprocessing(input_size=(32, 32))
VIT = VitSpec(16, 2, None, PICTURES, depth=4, patch=8)
REGISTERS = VitSpec(
    16, 2, None, PICTURES, depth=4, patch=8, layer_scale=1e-5, registers=2, class_has_position=False, num_classes=0
)
FAMILIES = {
    "small_vit": VIT,
    "small_registers": REGISTERS,
    "small_swin": SwinSpec(8, (2, 2, 2, 2), (1, 2, 2, 4), None, PICTURES, window=3),
    "small_convnext": ConvNextSpec((1, 1, 2, 1), (8, 16, 16, 24), None, PICTURES),
    "small_convolutions": ConvNextSpec((1, 1, 2, 1), (8, 16, 16, 24), None, PICTURES, conv_mlp=True),
}
#: The networks of ``tests/references/make_tokens.py``: family, classes, variant and the size of the pictures.
NETWORKS = {
    "vit": ("small_vit", 5, Variant(), (32, 32)),
    "vit_average": ("small_vit", 5, Variant("avg"), (32, 32)),
    "vit_avgmax": ("small_vit", 5, Variant("avgmax", "relu", in_channels=1), (32, 32)),
    "vit_registers": ("small_registers", 5, Variant(), (32, 32)),
    "vit_features": ("small_registers", 0, Variant(img_size=(16, 24)), (16, 24)),
    "swin": ("small_swin", 5, Variant(), (32, 32)),
    "swin_padded": ("small_swin", 5, Variant("catavgmax", in_channels=1), (36, 40)),
    "convnext": ("small_convnext", 5, Variant(), (32, 32)),
    "convnext_convolutions": ("small_convolutions", 5, Variant(output_stride=8, in_channels=1), (32, 32)),
    "convnext_stride16": ("small_convnext", 5, Variant("max", "silu", 16), (32, 32)),
}
LAYERS = ["layer1", "layer2", "layer3", "layer4"]
#: The networks at full size that are run, of those that are in ``oracle.MODELS``.
WHOLE = ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "convnext_atto"]
TOKENS = ("vit_", "deit", "swin_", "convnext_")


@pytest.fixture(scope="module", autouse=True)
def families():
    with pytest.MonkeyPatch.context() as patch:
        for name, spec in FAMILIES.items():
            patch.setitem(SPECS, name, spec)
        yield


@pytest.fixture(scope="module")
def references():
    with np.load(oracle.DATA / "tokens.npz") as arrays:
        return dict(arrays)


def shapes_of(name, **options):
    """The keys and shapes that timm would have, of a network that is not made."""
    shapes = flat_state(nnx.eval_shape(lambda: xr.create_model(name, rngs=OnlyShapes(), **options)))
    # Nothing is allocated for zeros that are all the same one.
    zeros = {path: np.broadcast_to(np.float32(0), leaf.shape) for path, leaf in shapes.items()}
    return {key: tensor.shape for key, tensor in timm_tensors(name, zeros).items()}


@cache
def drawn(name, dtype=jnp.float32):
    """One of the networks with drawn weights, and its pictures."""
    family, classes, variant, (height, width) = NETWORKS[name]
    weights = oracle.drawn(shapes_of(family, num_classes=classes, **vars(variant)))
    model = from_timm(family, weights, num_classes=classes, variant=variant, dtype=dtype)
    return model, oracle.seeded_images(3, 2, 40)[:, :height, :width, : variant.in_channels]


def relative(found, expected):
    found = np.asarray(found, np.float64)
    return np.abs(found - expected).max() / np.abs(expected).max()


def logits_of(model, x):
    graph, state = nnx.split(model)
    return jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, x)


def of_largest(out):
    return xr.seeds.unit(out, jnp.argmax(out, -1))


@pytest.mark.long(but=["swin", "convnext]", "vit]", "vit_registers"])
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_and_layers_are_timms(name, references):
    """Layers lie on their grid, where the derivative of the largest logit is not zero yet."""
    places = {key.split("/")[1] for key in references if key.startswith(f"{name}/")}
    with jax.enable_x64(True):
        model, images = drawn(name, jnp.float64)
        if not places:
            assert relative(logits_of(model, images), references[name]) < 1e-10
            return
        f, parameters = as_function(model)
        images = jnp.asarray(images, jnp.float64)
        taps = jax.jit(lambda x: xr.taps(f, xr.composites.gradient(), x, parameters, seed=of_largest))(images)
    assert relative(taps.output, references[name]) < 1e-10
    assert list(taps.activations) == LAYERS
    for layer in places:
        activation, gradient = (references[f"{name}/{layer}/{key}"] for key in ("activation", "gradient"))
        np.testing.assert_allclose(taps.activations[layer], activation, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(taps.relevances[layer], gradient, rtol=1e-8, atol=1e-12)
        assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("name", WHOLE)
def test_whole_networks_are_timms(name):
    logits = logits_of(from_timm(name, oracle.model_state(name, 1000)), oracle.model_images(name)[:1])
    assert logits.dtype == np.float32
    assert relative(logits, oracle.reference(name)["logits_f64"][:1]) < 1e-5


@pytest.mark.parametrize("stem", [stem for stem in oracle.MANIFESTS if stem.startswith(TOKENS)])
def test_keys_and_shapes_are_timms(stem):
    name, _, classes = stem.rpartition("_nc")
    assert shapes_of(name) == oracle.manifest(name, int(classes))


def test_round_trip_is_bit_exact():
    name = "vit_tiny_patch16_224"
    back = to_timm(from_timm(name, oracle.model_state(name, 1000)))
    assert digest(back) == oracle.digests()[f"{name}_nc1000.json"]["sha256_seed0"]


@pytest.mark.long
def test_relevance_is_conserved_from_layer_to_layer():
    model, images = drawn("swin")
    taps = jax.jit(lambda x: xr.taps(model, xr.composites.relevance_cam(), x, seed=of_largest))(images)
    # Below, the padding of windows takes a share.
    for layer in ("layer4", "layer3", "layer2"):
        np.testing.assert_allclose(taps.relevances[layer].sum((1, 2, 3)), 1, rtol=1e-3)


@pytest.mark.long
def test_maps_of_all_single_passes_are_there():
    methods = tuple(
        method
        for method, entry in xr.METHODS.items()
        if entry.kind.single_pass and entry.family == "activation" and not entry.kind.behind_pooling
    )
    assert len(methods) > 8
    model, images = drawn("vit")
    e = xr.Explainer(model, methods, ("layer1", "layer4"))(images)
    for method, maps in e.maps.items():
        for layer, found in maps.items():
            assert found.shape == images.shape[:3]
            assert np.isfinite(found).all(), (method, layer)
            # Where patches count no more, maps would be blank.
            assert found.max() > 0, (method, layer)


def test_cuts_change_the_patches_alone():
    """Without a channel, the class token is as it was: what Ablation-CAM finds is what the blocks themselves make."""
    model, images = drawn("vit")
    f, parameters = as_function(model)
    images = jnp.asarray(images)
    intact, without = ablated_scores(Case(f, parameters, images, jnp.array([[0], [1]])), "layer4")
    graph, state = nnx.split(model)

    @jax.jit
    def ablated(state, channels):
        network = nnx.merge(graph, state)
        tokens = network._tokens(images)
        for block in network.blocks[:3]:
            tokens = block(tokens)
        changed = jax.vmap(lambda k: tokens.at[:, 1:, k].set(0))(channels).reshape(-1, *tokens.shape[1:])
        logits = network.fc(network.norm(network.blocks[3](changed)[:, 0])).reshape(-1, 2, 5)
        return logits[:, jnp.arange(2), jnp.arange(2)]

    np.testing.assert_allclose(without[..., 0], ablated(state, jnp.arange(16)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(intact[:, 0], logits_of(model, images)[jnp.arange(2), jnp.arange(2)], rtol=1e-4)


@pytest.mark.parametrize(("pooling", "last"), [("token", 11), ("avg", 12)])
def test_marks_are_at_quarters_of_the_depth_and_where_patches_count_last(pooling, last):
    model = nnx.eval_shape(lambda: xr.create_model("vit_tiny_patch16_224", global_pool=pooling, rngs=OnlyShapes()))
    assert model._marks() == {3: ["layer1"], 6: ["layer2"], 9: ["layer3"], last: ["layer4"]}


def test_a_mark_of_tokens_asks_for_as_many():
    with pytest.raises(ValueError, match=r"expected 1 \+ 2 x 2 tokens, got 4"):
        xr.mark_tokens(jnp.ones((1, 4, 3)), "patches", grid=(2, 2), prefix=1)


def test_pictures_of_another_size_are_refused_by_name():
    model, images = drawn("vit")
    with pytest.raises(ValueError, match=r"small_vit takes pictures of 32 x 32 pixels.*got 24 x 32; img_size= of"):
        model(images[:, :24])
    with pytest.raises(ValueError, match="img_size: 30 x 30 is not made of patches of 8 x 8 pixels"):
        xr.create_model("small_vit", img_size=30)
    with pytest.raises(ValueError, match=r"img_size: small_swin comes with None only, got \(64, 64\)"):
        xr.create_model("small_swin", img_size=64)


def test_positions_are_resized_as_timm_resizes_them(references):
    spec = VitSpec(3, 1, None, Preprocessing(input_size=(40, 32)), patch=8, registers=1)
    tensors = {"pos_embed": oracle.seeded_images(5, 1, 40)[0, :22, 0].reshape(1, 22, 3)}
    for key in (key for key in references if key.startswith("positions/")):
        height, width = (8 * int(side) for side in key.removeprefix("positions/").split("x"))
        found = resampled(spec, tensors, (40, 32), (height, width))["pos_embed"]
        np.testing.assert_allclose(found, references[key], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("count", "said", "found"),
    [
        (17, [None], (32, 32)),
        (1 + 9, [(48, 48)], (24, 24)),
        (1 + 12, [(20, 20), (32, 24)], (32, 24)),
        (1 + 12, [(24, 24)], (32, 32)),
        (0, [], (32, 32)),
    ],
)
def test_positions_tell_the_size_of_pictures(count, said, found):
    assert picture_size(VIT, {"pos_embed": np.zeros((1, count, 16))}, said) == found


def test_every_spec_says_what_the_others_say():
    assert all(isinstance(spec, NetworkSpec) for spec in SPECS.values())


@pytest.mark.parametrize("pooling", ["avg", "token"])
def test_other_networks_poolings_are_refused(pooling):
    name = {"avg": "small_vit", "token": "small_convnext"}[pooling]
    wrong = {"avg": "catavgmax", "token": "token"}[pooling]
    with pytest.raises(ValueError, match=f"global_pool: '{wrong}' is none of .*, which {name} comes with"):
        xr.create_model(name, global_pool=wrong)


def test_a_checkpoint_says_the_size_of_its_pictures(tmp_path, caplog):
    model, _ = drawn("vit_features")
    save_timm(model, tmp_path / "w.safetensors")
    found = xr.load_model("small_registers", tmp_path / "w.safetensors")
    assert (found.variant, found.num_classes, found.num_outputs) == (Variant(img_size=(16, 24)), 0, 16)
    assert found.preprocessing == replace(PICTURES, input_size=(16, 24))
    assert digest(to_timm(found)) == digest(to_timm(model))
    # Without a description, as many positions as a square has are taken for one.
    save_file(
        to_timm(xr.load_model("small_registers", tmp_path / "w.safetensors", img_size=24)), tmp_path / "b.safetensors"
    )
    caplog.clear()
    found = xr.load_model("small_registers", tmp_path / "b.safetensors")
    assert found.img_size == found.preprocessing.input_size == (24, 24)
    assert "small_registers wants them (24 x 24" in caplog.text


def test_a_network_without_classes_gets_a_fresh_head():
    model, _ = drawn("vit_features")
    with pytest.warns(UserWarning, match="weights for 0 classes, 3 wanted: the head is fresh"):
        found = from_timm("small_registers", to_timm(model), num_classes=3, variant=model.variant)
    assert found.fc.kernel.shape == (16, 3)
    with pytest.raises(ValueError, match="num_classes has to be at least 1, got 0"):
        xr.create_model("small_vit", num_classes=0)


def test_what_old_versions_of_timm_wrote_beside_the_weights_is_passed_over():
    model, _ = drawn("swin")
    tensors = to_timm(model)
    tensors["layers.0.blocks.0.attn.relative_position_index"] = np.zeros((9, 9), np.int64)
    tensors["layers.0.blocks.1.attn_mask"] = np.zeros((9, 9, 9), np.float32)
    assert digest(to_timm(from_timm("small_swin", tensors))) == digest(to_timm(model))
