"""Puts the maps of a volume's slices together again, in the grid of its voxels.

A network of pictures is shown a volume slice by slice. Its maps become one volume for each method and layer, which lies
where the scan lies; and a sheet shows slices of it, a row per method.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from xrcam_jax.figures.comparison import comparison
from xrcam_jax.figures.grid import DPI
from xrcam_jax.figures.overlay import at_most
from xrcam_jax.figures.save import save
from xrcam_jax.pictures.decode import opened, read_rgb
from xrcam_jax.pictures.pages import Refusal
from xrcam_jax.pictures.preprocessing import Preprocessing
from xrcam_jax.pictures.read import Picture
from xrcam_jax.pictures.signatures import format_of
from xrcam_jax.pictures.unique_names import UniqueNames
from xrcam_jax.titles import method_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "volumes"
#: Slices on a sheet, and the longer side of each in pixels.
_ACROSS, _CELL = 8, 160


class Slice(NamedTuple):
    """Says where the maps of a slice belong.

    Attributes:
      source: the file of the volume.
      page: number of the slice, from 1; of a series, volume by volume.
      name: of its maps.
      box: top, left, bottom and right of what the network saw of the slice as it is looked at, in pixels.
    """

    source: str
    page: int
    name: str
    box: Sequence[float]


def slice_of(picture: Picture, config: Preprocessing) -> Slice | None:
    """Returns where the maps of a picture belong, if it is a slice of a volume in NIfTI."""
    if picture.time is not None or not _is_volume(picture.source):
        return None
    page = int(picture.name.rpartition("#")[2]) if (picture.facts.pages or 1) > 1 else 1
    return Slice(str(picture.source), page, picture.name, picture.seen_exactly(config))


@lru_cache(maxsize=1)
def _is_volume(path: Path) -> bool:
    try:
        return format_of(path) == "NIfTI"
    except (OSError, Refusal):
        return False


def write_volumes(folder: Path, slices: Iterable[Slice], report: Callable[[str], None], suffix: str) -> None:
    """Writes the volumes and the sheets of all slices whose maps a folder has.

    Voxels that the network was not shown have the value 0.

    Args:
      folder: of the results.
      slices: in the order in which they were explained.
      report: called with a line that names each volume that is left out, because it has changed or is too large.
      suffix: of the sheets, such as "png".

    Raises:
      OSError: a file cannot be written.
    """
    by_source: dict[str, list[Slice]] = defaultdict(list)
    for each in slices:
        by_source[each.source].append(each)
    names = UniqueNames()
    for source, found in by_source.items():
        name = names.take(found[0].name.partition("#")[0], "picture")
        try:
            _write(folder, name, Path(source), found, suffix)
        except (MemoryError, ValueError) as error:
            report(f"{source}: its maps are not put together ({error}); those of its slices are there")


def _write(folder: Path, name: str, source: Path, slices: Sequence[Slice], suffix: str) -> None:
    from xrcam_jax.pictures.decode_nifti import opened_header, seen_of
    from xrcam_jax.pictures.volumes import write_volume

    with opened_header(source) as (_, header):
        shape, seen = header.get_data_shape(), seen_of(header)
    size = shape[:2] if not seen.swapped else shape[1::-1]
    with _maps(folder, slices[0]) as maps:
        keys = [key for key in maps.files if "/" in key]
    for key in keys:
        stacked = np.zeros((*shape[:2], int(np.prod(shape[2:]))), np.float32)
        for each in slices:
            with _maps(folder, each) as maps:
                stacked[..., each.page - 1] = seen.stored(placed(maps[key], each.box, size))
        # Of a series the places run faster than the times.
        volume = stacked.reshape((*shape, 1)[:3] if np.prod(shape[3:]) == 1 else shape[:4], order="F")
        path = folder / FOLDER / key / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_volume(path, volume, header)
    save(_sheet(folder, name, source, slices, keys), folder / FOLDER / f"{name}.{suffix}")


def _maps(folder: Path, each: Slice) -> "np.lib.npyio.NpzFile":
    return np.load(folder / "maps" / f"{each.name}.npz")


def placed(
    saliency: Float[np.ndarray, "h w"], box: Sequence[float], size: tuple[int, int]
) -> Float32[np.ndarray, "_ _"]:
    """Returns a map with a value for each pixel of the picture of which it shows a part: linear between its own values.

    Args:
      saliency: the map.
      box: top, left, bottom and right of the part, in pixels of the picture.
      size: height and width of the picture.

    Returns:
      The values at the centres of the pixels; 0 outside of the box.
    """
    down = _weights(box[0], box[2], size[0], saliency.shape[0])
    across = _weights(box[1], box[3], size[1], saliency.shape[1])
    return (down @ saliency @ across.T).astype(np.float32)


def _weights(start: float, stop: float, length: int, samples: int) -> Float[np.ndarray, "length samples"]:
    """Returns the weight of each of a map's values for each pixel, along one axis: max(0, 1 - distance)."""
    share = (np.arange(length) + 0.5 - start) / (stop - start)
    places = np.clip(share * samples - 0.5, 0, samples - 1)
    weights = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(samples)))
    return np.where(((share >= 0) & (share <= 1))[:, None], weights, 0)


def _sheet(folder: Path, name: str, source: Path, slices: Sequence[Slice], keys: Sequence[str]) -> "Figure":
    """Returns slices from all of a volume side by side, and below each the overlays of the methods."""
    ordered = sorted(slices, key=lambda each: each.page)
    chosen = [ordered[i] for i in np.unique(np.linspace(0, len(ordered) - 1, _ACROSS).round().astype(int))]
    methods = dict.fromkeys(key.partition("/")[0] for key in keys)
    # The aggregate over layers, where there is one.
    layer = {method: "aggregate" if f"{method}/aggregate" in keys else "input" for method in methods}
    with opened(source) as pages:
        pictures = [at_most(pages.read(each.page - 1).pixels, _CELL) for each in chosen]
    overlays = [
        [read_rgb(folder / "overlays" / method / layer[method] / f"{each.name}.png") for each in chosen]
        for method in methods
    ]
    return comparison(
        [pictures, *overlays],
        columns=[f"slice {each.page}" for each in chosen],
        row_labels=["scan", *map(method_title, methods)],
        title=name,
        cell=_CELL / DPI,
    )
