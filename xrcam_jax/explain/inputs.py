"""What an Explainer is given, as functions of one input each: one array or several inputs, and maybe a target."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, PyTree

from xrcam_jax.attribution.asked import INPUT, Asked, Beside, described, explained_inputs, is_ids
from xrcam_jax.attribution.case import Function
from xrcam_jax.errors import unknown
from xrcam_jax.explain.explanation import Shown, with_maps
from xrcam_jax.explain.given import as_array
from xrcam_jax.explain.kinds import Channels, Found
from xrcam_jax.runtime.devices import lay, partitioned_by_compiler, replicate


class View(NamedTuple):
    """Holds a model as a function of one of its inputs.

    Attributes:
      function: (images, parameters) -> logits; an :class:`xrcam_jax.attribution.asked.Asked` if there are several
        inputs or a target function.
      images: that input.
      parameters: of the model, or :class:`xrcam_jax.attribution.asked.Beside`.
    """

    function: Function
    images: Any
    parameters: PyTree

    @property
    def sizes(self) -> dict[str, tuple[int, ...]]:
        """Returns the size of the maps of each explained input, by name. A vector's elements are its places."""
        inputs = explained_inputs(self.images, self.parameters, self.function)
        return {name: a.shape[1:] if is_ids(a) or a.ndim == 2 else a.shape[1:-1] for name, a in inputs.items()}


def is_tree(inputs: Any) -> bool:
    """Returns whether a model gets several inputs, rather than one array or a list that makes one.

    Args:
      inputs: what an Explainer is called with.

    Example:
      >>> from xrcam_jax.explain.inputs import is_tree
      >>> is_tree({"image": 1.0}), is_tree((1.0, 2.0)), is_tree([[1.0]])
      (True, True, False)
    """
    return not isinstance(inputs, list) and not jax.tree_util.all_leaves([inputs])


def checked_inputs(inputs: PyTree, *, finite: bool) -> PyTree:
    """Returns several inputs as arrays.

    Args:
      inputs: a dictionary or tuple of arrays.
      finite: whether NaN and infinity are refused.

    Raises:
      ValueError: an input is empty or not finite; names it.

    Example:
      >>> from xrcam_jax.explain.inputs import checked_inputs
      >>> {name: a.shape for name, a in checked_inputs({"age": [50.0, 61.0]}, finite=True).items()}
      {'age': (2,)}
    """

    def checked(path: tuple[Any, ...], a: Any) -> Array | np.ndarray:
        a = as_array(input_name(path), a)
        if not a.size or a.dtype.kind in "OSU":
            raise ValueError(f"{input_name(path)} must hold numbers, got {described(a)}")
        if finite and a.ndim and jnp.issubdtype(a.dtype, jnp.floating):
            check_finite(input_name(path), a)
        return partitioned_by_compiler(a) if isinstance(a, jax.Array) else a

    return jax.tree.map_with_path(checked, inputs, is_leaf=lambda a: isinstance(a, list))


def check_finite(name: str, images: Any) -> None:
    """Checks that a batch holds neither NaN nor infinity.

    Args:
      name: of the argument.
      images: the batch.

    Raises:
      ValueError: it does; names the images.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain.inputs import check_finite
      >>> check_finite("images", jnp.array([[1.0], [jnp.nan]]))
      Traceback (most recent call last):
      ValueError: images must be finite; found NaN or infinity in images [1] of the batch
    """
    if bad := [int(i) for i in np.flatnonzero(~np.asarray(_are_finite(images)))]:
        raise ValueError(f"{name} must be finite; found NaN or infinity in images {bad} of the batch")


@jax.jit
def _are_finite(images: Float[Array, "b ..."]) -> Bool[Array, " b"]:
    """Says it of each image, so that devices need not wait for each other."""
    return jnp.isfinite(images).all(tuple(range(1, images.ndim)))


def laid(mesh: Mesh, tree: PyTree, batch: int) -> PyTree:
    """Lays all rows of pictures along a mesh, and puts other arrays on each of its devices.

    Args:
      mesh: from :func:`xrcam_jax.runtime.devices.data_mesh`.
      tree: of arrays, of which those with ``batch`` rows have one for each picture; other leaves stay as they are.
      batch: how many pictures there are.

    Returns:
      The tree, its last rows repeated up to a multiple of the number of devices.

    Example:
      >>> import jax
      >>> import numpy as np
      >>> from xrcam_jax.explain.inputs import laid
      >>> from xrcam_jax.runtime.devices import data_mesh
      >>> laid(data_mesh(jax.devices()[:1]), (np.array([3, 1]), None), 2)[0].tolist()
      [3, 1]
    """

    def put(a: Any) -> Any:
        if not isinstance(a, (jax.Array, np.ndarray)):
            return a
        return lay(mesh, a) if a.ndim and len(a) == batch else replicate(mesh, a)

    return jax.tree.map(put, tree)


@partial(jax.jit, static_argnums=1)
def first_rows(tree: PyTree, count: int) -> PyTree:
    """Returns a tree of arrays without the rows that :func:`laid` has added.

    Args:
      tree: arrays with a row for each picture.
      count: how many pictures there are.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain.inputs import first_rows
      >>> first_rows({"logits": jnp.array([[1.0], [2.0], [2.0]])}, 2)["logits"].tolist()
      [[1.0], [2.0]]
    """
    return jax.tree.map(lambda a: a[:count], tree)


def views_of(
    function: Function,
    parameters: PyTree,
    inputs: PyTree,
    explain: Sequence[str] | None = None,
    target: Callable | None = None,
) -> dict[str, View]:
    """Returns a model as functions of each of its explained inputs, by the input's name.

    Args:
      function: (inputs, parameters) -> the model's output.
      parameters: of the model.
      inputs: one array, or a dictionary or tuple of arrays.
      explain: which of several are explained, see :class:`xrcam_jax.Explainer`.
      target: a function of the model's output, which may hold arrays.

    Raises:
      ValueError: there is no such input, none can be chosen, or their batches differ.
      TypeError: ``target`` is no function, or holds something else than arrays.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain.inputs import views_of
      >>> model = lambda inputs, parameters: inputs["image"].mean((1, 2)) + inputs["age"]
      >>> found = views_of(model, (), {"image": jnp.ones((2, 4, 4, 3)), "age": jnp.ones((2, 3))})
      >>> {name: view.images.shape for name, view in found.items()}
      {'input.image': (2, 4, 4, 3)}
    """
    if not is_tree(inputs):
        inputs = _on_device(inputs)
        if explain is not None:
            raise ValueError(f"explain chooses among several inputs, got {described(inputs)} alone")
        if target is None:
            return {INPUT: View(function, inputs, parameters)}
    named = {input_name(path): _on_device(a) for path, a in jax.tree.leaves_with_path(inputs)}
    chosen = _chosen(named, explain) if is_tree(inputs) else (INPUT,)
    batch = _batch(named, chosen)
    static, held = _split(target)

    def view(changed: str) -> View:
        also = {name: named[name] for name in chosen if name != changed}
        others = {name: a for name, a in named.items() if name not in chosen}
        asked = Asked(function, batch, jax.tree.structure(inputs), tuple(named), changed, static)
        return View(asked, named[changed], Beside(also, others, held, parameters))

    return {name: view(name) for name in chosen}


def _on_device(a: Any) -> Array:
    """Returns an array of JAX. Putting it there takes no program; ``jnp.asarray`` compiles one for each shape."""
    return a if isinstance(a, jax.Array) else jax.device_put(np.asarray(a))


def input_name(path: tuple[Any, ...]) -> str:
    """Returns the name of one of several inputs, by which it is a layer.

    Args:
      path: to it, as JAX has it.

    Example:
      >>> import jax
      >>> from xrcam_jax.explain.inputs import input_name
      >>> [input_name(path) for path, _ in jax.tree.leaves_with_path({"image": 1.0})]
      ['input.image']
    """
    return ".".join((INPUT, *(jax.tree_util.keystr((key,), simple=True) for key in path)))


def _chosen(named: Mapping[str, Array], explain: Sequence[str] | None) -> tuple[str, ...]:
    """Returns the names of the inputs that are explained."""
    known = [name.removeprefix(f"{INPUT}.") for name in named]
    if explain is not None:
        for name in explain:
            if name not in known:
                raise unknown("input in explain", name, known)
        return tuple(f"{INPUT}.{name}" for name in explain)
    pictures = tuple(name for name, a in named.items() if a.ndim > 2 and jnp.issubdtype(a.dtype, jnp.floating))
    chosen = pictures or (tuple(named) if len(named) == 1 else ())
    if not chosen:
        raise ValueError(f"explain must name inputs to be explained, of {', '.join(known)}: none is a picture")
    return chosen


def _batch(named: Mapping[str, Array], chosen: Sequence[str]) -> int:
    """Returns how many rows the inputs have; one that is not explained may have one for all pictures."""
    first = chosen[0]
    batch = len(named[first])
    for name, a in named.items():
        if a.ndim and len(a) != batch and (len(a) != 1 or name in chosen):
            raise ValueError(f"inputs must have a row for each picture, as {first} has {batch}; {name} has {len(a)}")
    return batch


def _split(target: Any) -> tuple[Any, list[Array]]:
    """Returns a target function, or its structure and the arrays that it holds."""
    if target is None:
        return None, []
    if not callable(target):
        raise TypeError(f"target must be a function of the model's output, got {target!r}")
    if jax.tree_util.all_leaves([target]):
        return _hashable(target), []
    leaves, structure = jax.tree.flatten(target)
    for leaf in leaves:
        if not isinstance(leaf, (jax.Array, np.ndarray, np.generic, bool, int, float)):
            raise TypeError(f"target must hold arrays alone, as jax.tree_util.Partial(function, array); got {leaf!r}")
    return _hashable(structure), [jnp.asarray(leaf) for leaf in leaves]


def _hashable(target: Any) -> Any:
    try:
        hash(target)
    except TypeError as error:
        raise TypeError(f"target must be hashable, since programs are kept by it; got {target!r}") from error
    return target


def shown_by_size(
    found: Mapping[str, Found], sizes: Mapping[str, tuple[int, ...]], *, relu: bool, channels: Channels
) -> dict[str, Shown]:
    """Returns what a method finds together with its maps, by layer, where the inputs may be of several sizes.

    Args:
      found: what the method finds, by layer.
      sizes: of the inputs, by name. Maps of other layers get that of the first with as many axes.
      relu: whether evidence against the target is cut off before a map is scaled.
      channels: how a map is made of values, see :class:`xrcam_jax.explain.kinds.Kind`.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain.inputs import shown_by_size
      >>> from xrcam_jax.explain.kinds import Found
      >>> found = {"layer": Found(maps=jnp.ones((1, 1, 2, 2))), "b": Found(maps=jnp.ones((1, 1, 2)))}
      >>> shown = shown_by_size(found, {"a": (4, 4), "b": (2,)}, relu=True, channels="sum")
      >>> {layer: each.map.shape for layer, each in shown.items()}
      {'layer': (1, 1, 4, 4), 'b': (1, 1, 2)}
    """

    def size(layer: str, at: Found) -> tuple[int, ...]:
        axes = at.maps.ndim - 2 if at.maps is not None else at.values.ndim - 3  # type: ignore[union-attr]
        return sizes[layer] if layer in sizes else next(each for each in sizes.values() if len(each) == axes)

    of = {layer: size(layer, at) for layer, at in found.items()}
    shown: dict[str, Shown] = {}
    for each in dict.fromkeys(of.values()):
        part = {layer: at for layer, at in found.items() if of[layer] == each}
        shown |= with_maps(part, size=each, relu=relu, channels=channels)
    return shown
