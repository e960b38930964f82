"""Digests against stored ones, and differences of logits that were made on purpose."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import oracle
from xrcam_jax.checkpoints.convert import from_timm
from xrcam_jax.checkpoints.verify import digest, logits_error


@pytest.mark.parametrize(("name", "seed"), [("resnet18", 0), ("resnet18", 1), ("skresnet34", 0)])
def test_digest_is_the_oracles(name, seed):
    expected = oracle.digests()[f"{name}_nc1000.json"][f"sha256_seed{seed}"]
    assert digest(oracle.seeded_state(name, seed=seed)) == expected


def test_digest_sees_names_and_bits_but_not_layout():
    tensor = np.arange(6.0).reshape(2, 3)
    assert digest({"a": tensor}) == digest({"a": np.asfortranarray(tensor)})
    assert digest({"a": tensor}) == digest({"a": tensor.astype(">f8")})
    assert digest({"a": tensor}) != digest({"b": tensor})
    assert digest({"a": tensor}) != digest({"a": np.nextafter(tensor, 9)})


@pytest.mark.parametrize("dtype", [">f4", "float16", jnp.bfloat16, "int64", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 2)])
def test_digest_is_of_names_and_bytes(dtype, shape):
    tensor = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    little = tensor.astype(tensor.dtype.newbyteorder("<")).tobytes()
    expected = hashlib.sha256(b"a" + little + b"b" + np.float32(1).tobytes()).hexdigest()
    assert digest({"b": np.ones((), np.float32), "a": tensor}) == expected


def test_drawn_pictures_are_the_stored_ones():
    np.testing.assert_array_equal(oracle.seeded_images(0, 2, 64), oracle.images())


def test_logits_error_is_relative_to_the_largest():
    model = from_timm("resnet18", oracle.seeded_state("resnet18"))
    images = oracle.seeded_images(0, 2, 32)
    expected = np.asarray(jax.jit(model)(images), np.float64)
    assert logits_error(model, images, expected) < 1e-5
    off = expected.copy()
    off[1, 3] += 0.01 * np.abs(expected).max()
    np.testing.assert_allclose(logits_error(model, images, off), 0.01, rtol=0.02)
    with pytest.raises(ValueError, match=r"shape \(2, 999\), the model's are \(2, 1000\)"):
        logits_error(model, images, expected[:, 1:])
