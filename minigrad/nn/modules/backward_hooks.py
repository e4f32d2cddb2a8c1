"""Stage: front. In: the hooks on a Module's backward. Out: calls with the gradients of its inputs and outputs.
Two entries of the tape that change nothing, one around all inputs and one around all outputs, carry them.
Next: ``state.py``."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any

from minigrad.autograd import Function, is_grad_enabled
from minigrad.tensor import Tensor

Hook = Callable[..., Any]


class ModuleHook:
    """A hook that is called with its Module first, which it does not keep alive."""

    def __init__(self, hook: Hook, module: Any = None) -> None:
        update_wrapper(self, hook)
        self.hook = hook
        self.with_module = module is not None
        if module is not None:
            self.module = weakref.ref(module)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.with_module:
            return self.hook(*args, **kwargs)
        module = self.module()
        if module is None:
            raise RuntimeError("You are trying to call the hook of a dead Module!")
        return self.hook(module, *args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        state = {"hook": self.hook, "with_module": self.with_module}
        if self.with_module:
            state["module"] = self.module()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.hook, self.with_module = state["hook"], state["with_module"]
        if self.with_module:
            if state["module"] is None:
                raise RuntimeError("You are trying to revive the hook of a dead Module!")
            self.module = weakref.ref(state["module"])


class BackwardHookFunction(Function):
    """All Tensors as they are; it is there for its entry on the tape."""

    generate_vmap_rule = True

    @staticmethod
    def forward(ctx: Any, *args: Tensor) -> tuple[Tensor, ...]:
        ctx.mark_non_differentiable(*[arg for arg in args if not arg.requires_grad])
        return args

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        return grads

    @staticmethod
    def jvp(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        return grads


class BackwardHook:
    """The backward hooks of one call of a Module, in the order in which the tape comes to them: first the gradients of
    the outputs, then those of the inputs. Positions that hold no Tensor have the gradient None."""

    def __init__(self, module: Any, user_hooks: Sequence[Hook], user_pre_hooks: Sequence[Hook]) -> None:
        self.module, self.user_hooks, self.user_pre_hooks = module, user_hooks, user_pre_hooks
        self.grad_outputs: tuple[Any, ...] | None = None
        self.inputs: list[int] | None = None
        self.outputs: list[int] | None = None
        self.n_inputs = self.n_outputs = -1

    def setup_input_hook(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, behind the entry that sees their gradients."""
        args, self.inputs = _through(args, self._inputs_done)
        self.n_inputs = len(args)
        return args

    def setup_output_hook(self, result: Any) -> Any:
        """The result, with the entry in front that sees its gradients."""
        if not isinstance(result, Tensor | tuple):
            warnings.warn("For backward hooks to be called, module output should be a Tensor or a tuple of Tensors but "
                          f"received {type(result)}", stacklevel=6)
        outputs = result if isinstance(result, tuple) else (result,)
        outputs, self.outputs = _through(outputs, self._outputs_known)
        self.n_outputs = len(outputs)
        return outputs if isinstance(result, tuple) else outputs[0]

    def _outputs_known(self, _: Any, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        assert self.outputs is not None
        self.grad_outputs = _spread(self.outputs, grads, self.n_outputs)
        for hook in self.user_pre_hooks:
            changed = hook(self.module, self.grad_outputs)
            if changed is None:
                continue
            changed = changed if isinstance(changed, tuple) else (changed,)
            if len(changed) != len(self.grad_outputs):
                raise RuntimeError("Backward pre hook returned an invalid number of grad_output, got "
                                   f"{len(changed)}, but expected {len(self.grad_outputs)}")
            self.grad_outputs = changed
        given = self.grad_outputs
        if self.inputs is None:
            self._without_inputs()
        return tuple([given[i] for i in self.outputs])

    def _without_inputs(self) -> None:
        warnings.warn("Full backward hook is firing when gradients are computed with respect to module outputs since "
                      "no inputs require gradients. See https://docs.pytorch.org/docs/main/generated/torch.nn.Module."
                      "html#torch.nn.Module.register_full_backward_hook for more details.", stacklevel=5)
        nothing = (None,) * self.n_inputs
        for hook in self.user_hooks:
            changed = hook(self.module, nothing, self.grad_outputs)
            if changed is not None and not (isinstance(changed, tuple) and all(part is None for part in changed)):
                raise RuntimeError("Backward hook for Modules where no input requires gradient should always return "
                                   "None or None for all gradients.")
        self.grad_outputs = None

    def _inputs_done(self, grads: tuple[Any, ...], _: Any) -> tuple[Any, ...] | None:
        if self.grad_outputs is None:  # the gradients came another way than through the outputs
            return None
        assert self.inputs is not None
        result = _spread(self.inputs, grads, self.n_inputs)
        for hook in self.user_hooks:
            changed = hook(self.module, result, self.grad_outputs)
            if changed is None:
                continue
            changed = changed if isinstance(changed, tuple) else (changed,)
            if len(changed) != len(result):
                raise RuntimeError("Backward hook returned an invalid number of grad_input, got "
                                   f"{len(changed)}, but expected {len(result)}")
            result = changed
        self.grad_outputs = None
        return tuple([result[i] for i in self.inputs])


def _spread(positions: Sequence[int], values: Sequence[Any], size: int) -> tuple[Any, ...]:
    """``values`` at their ``positions`` among ``size``, None elsewhere."""
    result: list[Any] = [None] * size
    for position, value in zip(positions, values, strict=True):
        result[position] = value
    return tuple(result)


def _through(args: tuple[Any, ...], hook: Hook) -> tuple[tuple[Any, ...], list[int] | None]:
    """The arguments, their Tensors behind an entry of the tape with a hook, and the positions of those; or as they are,
    and None, if none of them needs a gradient."""
    positions = [i for i, arg in enumerate(args) if isinstance(arg, Tensor)]
    if not is_grad_enabled() or not any(args[i].requires_grad for i in positions):
        return args, None
    made = BackwardHookFunction.apply(*[args[i] for i in positions])
    next(tensor.grad_fn for tensor in made if tensor.grad_fn is not None).register_hook(hook)
    result = list(args)
    for position, tensor in zip(positions, made, strict=True):
        result[position] = tensor
    kind: Any = type(args)
    return (tuple(result) if kind is tuple else kind(*result)), positions


def warn_of_missing_gradients(inputs: Any, result: Any, node: Any) -> None:
    """``FutureWarning`` where a hook on the last op alone, ``node``, sees less than a full backward hook."""
    def are_tensors(value: Any) -> bool:
        return isinstance(value, tuple) and all(isinstance(part, Tensor) for part in value)

    start, end = "Using a non-full backward hook when ", "This hook will be missing some grad_output."
    advice = " Please use register_full_backward_hook to get the documented behavior."
    outputs = (result,) if isinstance(result, Tensor) else result
    inputs = (inputs,) if isinstance(inputs, Tensor) else inputs
    for value, verb, gradient in ((outputs, "return", "grad_output"), (inputs, "take as input", "grad_input")):
        if not are_tensors(value):
            warnings.warn(f"Using non-full backward hooks on a Module that does not {verb} a single Tensor or a tuple "
                          "of Tensors is deprecated and will be removed in future versions. This hook will be missing "
                          f"some of the {gradient}.{advice}", FutureWarning, stacklevel=6)
            return
    made = {output.grad_fn for output in outputs} - {None}
    if not made or (len(made) == 1 and node not in made):
        text = ("outputs are nested in python data structure is deprecated and will be removed in future versions. "
                f"{end}")
    elif len(made) > 1:
        text = ("outputs are generated by different autograd Nodes is deprecated and will be removed in future "
                f"versions. {end}{advice}")
    elif {input.grad_fn for input in inputs} - {None} != {n for n, _ in node.next_functions}:
        text = ("the forward contains multiple autograd Nodes is deprecated and will be removed in future versions. "
                f"This hook will be missing some grad_input.{advice}")
    else:
        return
    warnings.warn(start + text, FutureWarning, stacklevel=6)
