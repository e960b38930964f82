"""How much faster is XRelevance-CAM with a batch laid over several devices, and do the maps stay the same?

    xrcam benchmark scaling --models resnet50 --batch-size 8     # three minutes on 2 cores

The batch is the same for all numbers of devices, which take turns. On a CPU the devices are virtual: they share its
cores, and nothing can become faster; what is seen there is what dividing the work costs.

Maps are compared with those of the first number of devices, and with those of one device that is given what each
device gets, share after share. A batch of another size is summed in another order, and differs in rounding.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import xrcam_jax as xr
from xrcam_jax.arguments.parser import Options
from xrcam_jax.benchmark.compiled_calls import CompiledCall, compile_call
from xrcam_jax.benchmark.runs import Peer, Row, interleaved_medians
from xrcam_jax.errors import CommandError
from xrcam_jax.models.resnet import STAGES
from xrcam_jax.runtime.devices import AXIS, data_mesh


def measure(options: Options, peers: Mapping[str, Peer]) -> Iterator[Row]:
    """Yields a row for each model and number of devices; the first number is what the others are compared with."""
    for count in options.devices:
        if options.batch_size % count:
            raise CommandError(f"--devices: {count} does not divide the batch of {options.batch_size}")
    counts = _available(options.devices)
    kind = "virtual, sharing the cores" if jax.default_backend() == "cpu" else jax.devices()[0].device_kind
    for name in options.models:
        explain = xr.Explainer(xr.create_model(name), ("xrelevance_cam",), STAGES)
        images = pictures(options.batch_size, options.size)
        programs = {str(count): sharded(explain, count, images) for count in counts}
        found = {label: jax.device_get(run().maps["xrelevance_cam"]) for label, run in programs.items()}
        medians = interleaved_medians(programs, options.repeats, name)
        one = str(counts[0])
        for count in counts:
            maps = found[str(count)]
            seconds = medians[str(count)]
            yield {
                "model": name,
                "devices": count,
                "kind": kind,
                "ms": 1e3 * seconds,
                "images_per_s": options.batch_size / seconds,
                "speed_up": medians[one] / seconds,
                "largest_difference": largest_difference(maps, found[one]),
                "difference_to_shares": largest_difference(maps, share_after_share(explain, count, images)),
                "compile_s": programs[str(count)].compile_s,
            }


def pictures(batch: int, size: int) -> np.ndarray:
    """Returns ``batch`` pictures of noise, (batch, size, size, 3)."""
    return np.random.default_rng(0).standard_normal((batch, size, size, 3)).astype(np.float32)


def sharded(explain: xr.Explainer, count: int, images: np.ndarray) -> CompiledCall:
    """Compiles XRelevance-CAM for a batch laid over the first ``count`` devices, with the parameters on all of them."""
    mesh = data_mesh(jax.devices()[:count])
    return compile_call(
        explain.explain,
        jax.device_put(explain.parameters, NamedSharding(mesh, PartitionSpec())),
        jax.device_put(images, NamedSharding(mesh, PartitionSpec(AXIS))),
    )


def share_after_share(explain: xr.Explainer, count: int, images: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the maps by layer that one device finds, given in turn what each of ``count`` devices would get."""
    shares = [jax.device_get(explain(share).maps["xrelevance_cam"]) for share in np.split(images, count)]
    return {layer: np.concatenate([share[layer] for share in shares]) for layer in STAGES}


def largest_difference(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    """Returns the largest difference between two sets of maps, over all layers."""
    return max(float(np.abs(found[layer] - expected[layer]).max()) for layer in STAGES)


def _available(counts: list[int]) -> list[int]:
    """Returns the numbers for which there are devices; a CPU gets as many as it takes, if JAX has not started."""
    with suppress(RuntimeError):
        asked_for = jax.config.jax_num_cpu_devices  # type: ignore[attr-defined]
        jax.config.update("jax_num_cpu_devices", max(asked_for, *counts))
    have = jax.device_count()
    if max(counts) > have:
        print(f"xrcam benchmark: --devices: there are {have}, larger numbers are left out", file=sys.stderr)
    fitting = [count for count in counts if count <= have]
    if not fitting:
        raise CommandError(f"--devices: there are only {have}")
    return fitting
