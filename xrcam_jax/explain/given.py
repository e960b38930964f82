"""What an Explainer is given by its callers: arrays of any library, and classes by their numbers or names."""

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from numbers import Integral
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from xrcam_jax.attribution.asked import Asked
from xrcam_jax.attribution.case import Function
from xrcam_jax.attribution.shapes import Shapes, of_shapes, shapes
from xrcam_jax.errors import unknown


@runtime_checkable
class OtherArray(Protocol):
    """Is an array of another library, such as a tensor of PyTorch, that hands its memory on by DLPack."""

    def __dlpack__(self, *args: Any, **options: Any) -> Any: ...


#: Images, of JAX, NumPy or PyTorch or in a list; or what a model of several inputs is called with.
Inputs = Float[ArrayLike, "b *space c"] | Int[ArrayLike, "b n"] | OtherArray | dict | tuple | list
#: A class for all images or one for each, or t classes for each, by number or name.
Targets = (
    int
    | np.integer
    | str
    | Int[ArrayLike, ""]
    | Int[ArrayLike, "b *t"]
    | OtherArray
    | Sequence[int | str]
    | Sequence[Sequence[int | str]]
)
#: What is explained: a class by its number or name, or what a function says of the model's output.
Target = Callable | int | str

#: DLPack's number of a device that is the host's memory.
_HOST = 1
#: From this side on, three rows of as many places as channels are rather a picture with its channels first.
_LARGE = 16


def as_array(name: str, value: Any) -> Array | np.ndarray:
    """Returns an array of JAX or NumPy, without copies where that can be done.

    Args:
      name: of the argument, for messages.
      value: such an array, one of any library that knows DLPack, as PyTorch's, a list of arrays of one shape, or
        numbers in lists.

    Raises:
      ValueError: it is none of these.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.explain.given import as_array
      >>> as_array("images", [np.zeros((4, 4, 3)), np.ones((4, 4, 3))]).shape
      (2, 4, 4, 3)
      >>> as_array("images", [np.zeros((4, 4, 3)), np.ones((4, 5, 3))])
      Traceback (most recent call last):
      ValueError: images must be of one size; images[1] is (4, 5, 3) and images[0] (4, 4, 3): xr.preprocess resizes them
    """
    if isinstance(value, (jax.Array, np.ndarray)):
        return value
    if hasattr(value, "__dlpack__"):
        return _by_dlpack(name, value)
    if isinstance(value, (list, tuple)) and value and all(hasattr(each, "shape") for each in value):
        each = [as_array(f"{name}[{i}]", one) for i, one in enumerate(value)]
        for i, one in enumerate(each):
            if one.shape != each[0].shape:
                raise ValueError(
                    f"{name} must be of one size; {name}[{i}] is {one.shape} and {name}[0] {each[0].shape}: "
                    "xr.preprocess resizes them"
                )
        return jnp.stack(each) if all(isinstance(one, jax.Array) for one in each) else np.stack(each)
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be one array; several inputs are a tuple or a dictionary: {error}") from error


def _by_dlpack(name: str, value: Any) -> Array | np.ndarray:
    if getattr(value, "requires_grad", False):
        value = value.detach()
    try:
        # NumPy takes arrays of any strides, and JAX those of devices and of types that NumPy has not.
        if value.__dlpack_device__()[0] == _HOST:
            return np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError):
        pass
    try:
        return jax.dlpack.from_dlpack(value)
    except Exception as error:
        line = next(iter(str(error).splitlines()), "")
        raise ValueError(f"{name}: {type(value).__name__} cannot be read by DLPack: {line}") from error


def refusal(images: Any) -> str:
    """Returns what would make images of a batch that can be explained, or nothing where that is not known.

    Args:
      images: of a dtype or number of axes that cannot be.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.explain.given import refusal
      >>> refusal(np.zeros((4, 4)))
      '; a single grey picture: images[None, ..., None]'
    """
    if images.dtype == np.uint8 and images.ndim == 4:
        return "; pictures of bytes: xr.preprocess(images, model.preprocessing)"
    if images.dtype == np.uint8 and images.ndim == 3:
        return "; a single picture of bytes: xr.preprocess([images], model.preprocessing)"
    if images.ndim == 2 and jnp.issubdtype(images.dtype, jnp.floating):
        return "; a single grey picture: images[None, ..., None]"
    return ""


def cure(name: str, function: Function, images: Any, parameters: Any) -> str:
    """Returns the one line after which a model takes images that it does not take as they are; or nothing.

    Args:
      name: of the images.
      function: the model.
      images: a batch, of which only shape and dtype count.
      parameters: of the model.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain.given import cure
      >>> model = lambda images, parameters: (images @ parameters).mean((1, 2))
      >>> cure("images", model, jnp.ones((2, 3, 8, 9)), jnp.ones((3, 5)))
      'images.transpose(0, 2, 3, 1)'
      >>> cure("images", model, jnp.ones((8, 9, 3)), jnp.ones((3, 5)))
      'images[None]'
    """
    shape = tuple(images.shape)
    # A single picture is taken for a batch of signals by some models, of which one number comes out for each row.
    if len(shape) >= 4 and _takes(function, shapes((images, parameters))):
        return ""
    axes = range(len(shape))
    last, first = [0, *axes[2:], 1], [*axes[1:], 0]
    ways = [(f".transpose{tuple(last)}", tuple(shape[i] for i in last)), ("[None]", (1, *shape))]
    ways.append((f".transpose{tuple(first)}[None]", (1, *(shape[i] for i in first))))
    for how, turned in ways:
        if _gives_logits(function, shapes((jax.ShapeDtypeStruct(turned, images.dtype), parameters))):
            return f"{name}{how}"
    return ""


def _takes(function: Function, known: Shapes) -> bool:
    """Returns whether a model takes images as they are: it returns something for each of them."""
    leaves = jax.tree.leaves(_output(function, known))
    count = len(of_shapes(*known)[0])
    return bool(leaves) and all(a.ndim and len(a) == count for a in leaves)


def _gives_logits(function: Function, known: Shapes) -> bool:
    found = _output(function, known)
    if found is None:
        return False
    return isinstance(function, Asked) or (getattr(found, "ndim", 0) == 2 and len(found) == len(of_shapes(*known)[0]))


@lru_cache(maxsize=32)
def _output(function: Function, known: Shapes) -> Any:
    """Returns the shapes of what a model returns; None where it does not take the images."""
    try:
        return jax.eval_shape(function, *of_shapes(*known))
    # A model may fail in any way.
    except Exception:
        return None


def warn_of_channels_first(function: Function, images: Any, parameters: Any) -> None:
    """Warns of a model that takes pictures with their channels first, where maps would lie along the wrong axes.

    Args:
      function: the model, which takes the images.
      images: a batch.
      parameters: of the model.

    Example:
      >>> import warnings
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain.given import warn_of_channels_first
      >>> model = lambda images, parameters: images.mean((2, 3)) @ parameters
      >>> with warnings.catch_warnings(record=True, action="always") as caught:
      ...     warn_of_channels_first(model, jnp.ones((2, 3, 32, 32)), jnp.ones((3, 5)))
      >>> str(caught[0].message)[:72]
      'images (2, 3, 32, 32) are taken as 3 rows of 32 places with 32 channels;'
    """
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1] not in (1, 3) or min(shape[2:]) < _LARGE:
        return
    turned = jax.ShapeDtypeStruct((shape[0], *shape[2:], shape[1]), images.dtype)
    if not _gives_logits(function, shapes((turned, parameters))):
        warnings.warn(
            f"images {shape} are taken as {shape[1]} rows of {shape[2]} places with {shape[3]} channels; if the model "
            "takes channels first, explain lambda images: model(images.transpose(0, 3, 1, 2)), of "
            "images.transpose(0, 2, 3, 1)",
            stacklevel=4,
        )


def class_named(name: str, labels: Sequence[str]) -> int:
    """Returns the number of a class.

    Args:
      name: of the class, in which capitals do not matter unless they tell two classes apart.
      labels: the names of all classes.

    Raises:
      ValueError: no class has that name, or several have.

    Example:
      >>> from xrcam_jax.explain.given import class_named
      >>> class_named("meningioma", ["GBM", "Meningioma"])
      1
    """
    alike = [i for i, label in enumerate(labels) if label.casefold() == name.casefold()]
    found = [i for i in alike if labels[i] == name] or alike
    if not found:
        raise unknown("class", name, labels)
    if len(found) > 1:
        raise ValueError(f"{name!r} is the name of {len(found)} classes; give a number")
    return found[0]


def class_number(what: str, given: Any, labels: Sequence[str] | None) -> Any:
    """Returns the number of a class that is named; what is no name stays as it is.

    Args:
      what: is given, for messages.
      given: a name, in which capitals do not matter, or anything else.
      labels: the names of the classes.

    Raises:
      ValueError: no class has that name, or the classes have none.

    Example:
      >>> from xrcam_jax.explain.given import class_number
      >>> class_number("targets", "meningioma", ("glioma", "meningioma")), class_number("targets", 0, None)
      (1, 0)
    """
    if not isinstance(given, str):
        return given
    if not labels:
        raise ValueError(
            f"{what}: {given!r}, but the classes have no names; give them by xr.Explainer(..., labels=[...])"
        )
    try:
        return class_named(given, labels)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None


def class_numbers(targets: Any, labels: Sequence[str] | None) -> Any:
    """Returns targets as an array of whole numbers, or of what cannot be such.

    Args:
      targets: a class for all pictures, or for each picture a class or several; by number or name.
      labels: the names of the classes.

    Raises:
      ValueError: no class has a name that is given, or the classes have none.

    Example:
      >>> from xrcam_jax.explain.given import class_numbers
      >>> class_numbers(["well", "ill"], ("ill", "well")).tolist(), int(class_numbers("well", ("ill", "well")))
      ([1, 0], 1)
    """
    if targets is None or isinstance(targets, jax.Array):
        return targets
    if isinstance(targets, str):
        return np.asarray(class_number("targets", targets, labels))
    array = as_array("targets", targets)
    if array.dtype.kind in "UO":
        named = [class_number("targets", each, labels) for each in np.asarray(array, object).ravel().tolist()]
        array = np.asarray(named).reshape(array.shape)
    return array


def checked_targets(targets: Any, batch: int, classes: int) -> Int[np.ndarray, "b *t"]:
    """Returns a class, or t classes, for each picture.

    Args:
      targets: an array; one class is that of all pictures.
      batch: how many pictures there are.
      classes: how many classes.

    Raises:
      ValueError: they are not classes of such a batch.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.explain.given import checked_targets
      >>> checked_targets(np.array(1), 3, 2).tolist()
      [1, 1, 1]
    """
    array = np.asarray(targets)
    is_whole = np.issubdtype(array.dtype, np.integer)
    array = np.full(batch, array) if array.ndim == 0 and is_whole else array
    if array.ndim not in (1, 2) or len(array) != batch or not is_whole:
        raise ValueError(
            f"targets must be integers of shape ({batch},) or ({batch}, t), or one for all pictures; got {array.dtype} "
            f"of shape {array.shape}"
        )
    wrong = array[(array < 0) | (array >= classes)]
    if wrong.size:
        raise ValueError(f"targets must be classes 0 to {classes - 1}, found {int(wrong[0])}")
    return array


def checked_labels(labels: Sequence[str] | None) -> tuple[str, ...] | None:
    """Returns names of classes.

    Args:
      labels: the names, in the classes' order.

    Raises:
      TypeError: they are no names.

    Example:
      >>> from xrcam_jax.explain.given import checked_labels
      >>> checked_labels(["ill", "well"])
      ('ill', 'well')
    """
    if labels is None:
        return None
    if isinstance(labels, str) or not all(isinstance(name, str) for name in labels):
        raise TypeError(f"labels must be names of the classes, such as ['glioma', 'meningioma']; got {labels!r}")
    return tuple(labels)


def is_class(target: Any) -> bool:
    """Returns whether a target is a class, by its number or name, rather than a function.

    Args:
      target: what an Explainer was given as ``target``.

    Example:
      >>> from xrcam_jax.explain.given import is_class
      >>> is_class(1), is_class("meningioma"), is_class(lambda logits: logits[:, 0]), is_class(None)
      (True, True, False, False)
    """
    return isinstance(target, str | Integral) and not isinstance(target, bool)


def asked_of(
    own: Callable | int | str | None, target: Callable | int | str | None, targets: Any, top_k: int | None
) -> tuple[Any, Callable | None]:
    """Returns the classes and the target function of a call.

    Args:
      own: the Explainer's target, which counts if the call does not say what is explained.
      target: of the call.
      targets: likewise.
      top_k: likewise.

    Example:
      >>> from xrcam_jax.explain.given import asked_of
      >>> asked_of(1, None, None, None), asked_of(1, None, [0], None)
      ((1, None), ([0], None))
    """
    target = own if target is None and targets is None and top_k is None else target
    if target is None or not is_class(target):
        return targets, target  # type: ignore[return-value]
    return target if targets is None else targets, None
