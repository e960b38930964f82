"""PyTorch's modules run under named scopes while they are traced, so that their layers have the modules' names."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import jax


@contextmanager
def named_scopes(model: Any) -> Iterator[None]:
    """Has all modules inside a model run under named scopes while this lasts.

    A scope has the name by which the module around knows the module, such as ``layer4/0``, and scopes are nested as the
    calls are.

    Args:
      model: a ``torch.nn.Module``, which gets hooks that are taken away again.

    Returns:
      A context, for one thread at a time.

    Example:
      >>> from xrcam_jax.explain.torch_scopes import named_scopes
      >>> with named_scopes(model):  # doctest: +SKIP
      ...     logits = model(pictures)
    """
    running: list[tuple[str, ExitStack]] = []

    def enter(name: str) -> None:
        around = running[-1][0] if running else ""
        inside = name.removeprefix(f"{around}.")
        scope = ExitStack()
        scope.enter_context(jax.named_scope(inside.replace(".", "/")))
        running.append((name, scope))

    def leave() -> None:
        running.pop()[1].close()

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if name:
                before = module.register_forward_pre_hook(lambda *_, name=name: enter(name))
                # Also when the module fails.
                after = module.register_forward_hook(lambda *_: leave(), always_call=True)
                hooks.callback(before.remove)
                hooks.callback(after.remove)
        yield
