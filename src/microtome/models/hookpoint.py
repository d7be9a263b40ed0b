"""Where a site's tensor passes through a Hugging Face module, and how to read and replace it there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from microtome.base.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils.hooks import RemovableHandle

FIRST_ARGUMENT = "hidden_states"
"""What transformers calls the first argument of layers and blocks when it passes it by keyword."""


@dataclass(frozen=True)
class HookPoint:
    """One forward hook (or pre-hook) that sees a site's tensor, and the view that gives it the site's shape.

    A fused projection is unfolded and one part selected: with ``fold = (3, heads, d_head)`` and
    ``part = (-3, 1)``, ``[batch, position, 3 * heads * d_head]`` becomes the keys
    ``[batch, position, heads, d_head]``.
    """

    module: str
    """Dotted path of the module from the causal language model; in a template ``{}`` stands for the layer."""
    io: Literal["input", "output"]
    """Whether the tensor is the module's first argument or its result."""
    index: int | None = None
    """Which element, when the module returns a tuple."""
    fold: tuple[int, ...] | None = None
    """Sizes into which the last axis unfolds."""
    part: tuple[int, int] | None = None
    """Negative axis of the unfolded tensor, and the entry selected from it."""
    in_place: bool = False
    """Whether the model keeps a second reference to the tensor, so that it is replaced by overwriting."""
    read_only: str | None = None
    """Why the tensor cannot be replaced here, if it cannot."""

    def at(self, layer: int) -> HookPoint:
        """Return the point of one layer from a template."""
        return HookPoint(**{**self.__dict__, "module": self.module.format(layer)})

    def find(self, model: nn.Module) -> nn.Module:
        """Return the module of ``model`` on which the hook is set."""
        return model.get_submodule(self.module)

    def view(self, whole: Tensor) -> Tensor:
        """Return the site's view of the tensor that passes; it shares memory with ``whole``."""
        if self.fold is not None:
            whole = whole.unflatten(-1, self.fold)
        return whole if self.part is None else whole.select(*self.part)

    def read(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any = None) -> Tensor:
        """Return the site's tensor from what the hook receives.

        Raises:
            UserError: If the module never forms the tensor, as attention probabilities without eager.
        """
        whole = self._whole(args, kwargs, output)
        if whole is None:
            raise UserError(
                f"Expected '{self.module}' to show its attention probabilities, but this attention "
                "never forms them. Load the model with attention='eager'."
            )
        # A tensor that may be overwritten later is copied, so that what was read stays what it was.
        return self.view(whole.clone() if self.in_place else whole)

    def write(
        self, value: Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any = None
    ) -> Any:
        """Return what the hook must return so that the model goes on with ``value`` at this site.

        Raises:
            UserError: If the site can only be read, or ``value`` has another shape than the site's tensor.
        """
        if self.read_only is not None:
            raise UserError(self.read_only)
        whole = self._whole(args, kwargs, output)
        replaced = self._merge(whole, value)
        if self.io == "output":
            if self.index is None:
                return replaced
            return (*output[: self.index], replaced, *output[self.index + 1 :])
        if args:
            return (replaced, *args[1:]), kwargs
        return args, {**kwargs, FIRST_ARGUMENT: replaced}

    def attach(self, model: nn.Module, function: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Set the hook: ``function`` sees the site's tensor at every pass and may return its replacement.

        Returns:
            The handle whose ``remove()`` takes the hook away. An exception from ``function`` ends the pass.
        """
        module = self.find(model)
        if self.io == "input":

            def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
                value = function(self.read(args, kwargs))
                return None if value is None else self.write(value, args, kwargs)

            return module.register_forward_pre_hook(before, with_kwargs=True)

        def after(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            value = function(self.read(args, kwargs, output))
            return None if value is None else self.write(value, args, kwargs, output)

        return module.register_forward_hook(after, with_kwargs=True)

    def _whole(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> Tensor:
        if self.io == "input":
            return args[0] if args else kwargs[FIRST_ARGUMENT]
        return output if self.index is None else output[self.index]

    def _merge(self, whole: Tensor, value: Tensor) -> Tensor:
        site = self.view(whole)
        if value.shape != site.shape:
            raise UserError(
                f"Expected a replacement of shape {tuple(site.shape)} at '{self.module}', "
                f"got {tuple(value.shape)}. Return a tensor of the shape that was given."
            )
        value = value.to(site)
        if self.in_place:
            whole.copy_(value)
            return whole
        if self.part is not None:
            whole = whole.clone()
            self.view(whole).copy_(value)
            return whole
        return value if self.fold is None else value.flatten(-len(self.fold))
