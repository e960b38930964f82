"""Looks at programs as they are lowered for an accelerator: is there anything that it would wait for? It takes none."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax

#: Operations by which a program and its host wait for each other.
_TRANSFERS = frozenset({f"stablehlo.{name}" for name in ("infeed", "outfeed", "send", "recv")})
#: Operations by which a loop takes its pictures, or what else it goes through, one after the other.
_TURNS = frozenset({"stablehlo.dynamic_slice", "stablehlo.dynamic_update_slice"})


def lowered(f: Any, *arguments: Any, platforms: Sequence[str] = ("cuda", "tpu")) -> list[Any]:
    """Returns ``f``, which may be jitted already, as it is handed to the compiler of each platform."""
    traced = (f if hasattr(f, "trace") else jax.jit(f)).trace(*arguments)
    return [traced.lower(lowering_platforms=(platform,)) for platform in platforms]


def operations(program: Any) -> Iterator[Any]:
    """Yields all operations of a lowered program, those in functions, branches and loops among them."""
    yield from _inside(program.compiler_ir("stablehlo").operation)


def faults(program: Any) -> set[str]:
    """Returns what in a lowered program an accelerator waits for, or has no fast form of."""
    every = list(operations(program))
    functions = {op.attributes["sym_name"].value: op for op in every if op.name == "func.func"}
    return set().union(*(set(_faults(op, functions)) for op in every))


def kernels(program: Any) -> set[tuple[int, ...]]:
    """Returns the shapes of the kernels of all convolutions."""
    return {tuple(op.operands[1].type.shape) for op in operations(program) if op.name == "stablehlo.convolution"}


def _inside(op: Any) -> Iterator[Any]:
    for region in op.regions:
        for block in region:
            for inner in block.operations:
                yield inner.operation
                yield from _inside(inner.operation)


def _faults(op: Any, functions: dict[str, Any]) -> Iterator[str]:
    for type_ in (value.type for value in (*op.operands, *op.results)):
        shape, _, dtype = str(type_).removeprefix("tensor<").removesuffix(">").rpartition("x")
        if "?" in shape:
            yield f"{op.name} of unknown size"
        if dtype == "f64":
            yield f"{op.name} in float64"
    if op.name in _TRANSFERS:
        yield f"{op.name} to or from the host"
    if op.name == "stablehlo.custom_call":
        yield f"call of {op.attributes['call_target_name'].value}"
    if op.name == "stablehlo.convolution":
        yield from _faults_of_convolution(op)
    if op.name == "stablehlo.while" and _TURNS & {inner.name for inner in _reached(op, functions)}:
        yield "loop that takes its turns one after the other"


def _faults_of_convolution(op: Any) -> Iterator[str]:
    """Yields what keeps a convolution from being one of cuDNN's: forward, or the gradient of its input or kernel."""
    names = ("window_reversal", "lhs_dilation", "rhs_dilation")
    reversal, at_input, at_kernel = (list(op.attributes[name]) if name in op.attributes else [] for name in names)
    if len(set(reversal)) > 1:
        yield "convolution with a kernel that is turned along some axes only"
    if max(at_input, default=1) > 1 and max(at_kernel, default=1) > 1:
        yield "convolution with holes in its input and in its kernel"
    if min(op.attributes[name].value for name in ("batch_group_count", "feature_group_count")) > 1:
        yield "convolution in groups of examples and of channels"


def _reached(op: Any, functions: dict[str, Any]) -> Iterator[Any]:
    """Yields the operations in ``op`` and in the functions that it calls."""
    for inner in _inside(op):
        yield inner
        if inner.name == "func.call":
            yield from _reached(functions[inner.attributes["callee"].value], functions)
