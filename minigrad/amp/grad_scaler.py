"""Stage: front. In: a loss whose gradients would vanish in float16. Out: the loss times a large number, and the
gradients divided by it before the optimizer's step, which is left out if any of them overflowed.
Next: ``minigrad/autograd/gradcheck.py``."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable
from enum import Enum
from typing import Any

from minigrad.autograd.mode import no_grad
from minigrad.cuda import is_available
from minigrad.dtype import float16, float32, int32
from minigrad.tensor import Tensor, composite, full, update, where


class OptState(Enum):
    """What has been done with an optimizer since the last ``update()``."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


@composite
def unscaled(grads: list[Tensor], inverse: Tensor) -> tuple[Tensor, ...]:
    """1 if any element of any gradient is infinite or NaN, else 0; then each gradient times ``inverse``."""
    found, results = None, []
    for g in grads:
        bad = (~g.isfinite()).any()
        found = bad if found is None else found | bad
        results.append((g.to(float32) * inverse).to(g.dtype))
    assert found is not None
    return (found.to(float32), *results)


@composite
def next_scale(scale: Tensor, tracker: Tensor, found: list[Tensor], *, growth: float, backoff: float,
               interval: int) -> tuple[Tensor, Tensor]:
    """The scale and the number of steps since it changed, after a step: times ``backoff`` if anything overflowed, times
    ``growth`` after ``interval`` steps in which nothing did (and the product is finite)."""
    bad = found[0] > 0
    for f in found[1:]:
        bad = bad | (f > 0)
    steps = tracker + 1
    full_time = steps == interval
    grown = scale * growth
    grown = where(full_time & grown.isfinite(), grown, scale)
    return where(bad, scale * backoff, grown), where(bad | full_time, 0, steps).to(int32)


def _fresh() -> dict[str, Any]:
    return {"stage": OptState.READY, "found_inf_per_device": {}}


class GradScaler:
    """Scales losses up and gradients down again, and leaves out the steps in which a gradient overflowed: then the
    scale halves; after ``growth_interval`` good steps it doubles.

    With ``enabled=False`` it does nothing: ``scale`` returns the loss, ``step`` calls ``optimizer.step``. Warns, and is
    disabled, for device ``"cuda"`` where there is none.
    Source: https://docs.pytorch.org/docs/stable/amp.html#torch.amp.GradScaler

    >>> import minigrad
    >>> w = minigrad.nn.Parameter(minigrad.ones(2))
    >>> sgd, scaler = minigrad.optim.SGD([w], lr=0.5), GradScaler("cpu", init_scale=8.0)
    >>> scaler.scale(w.sum()).backward()
    >>> w.grad
    tensor([8., 8.])
    >>> scaler.step(sgd)
    >>> scaler.update()
    >>> w.detach()
    tensor([0.5000, 0.5000])
    """

    def __init__(self, device: str = "cuda", init_scale: float = 2.0**16, growth_factor: float = 2.0,
                 backoff_factor: float = 0.5, growth_interval: int = 2000, enabled: bool = True) -> None:
        self._device = device
        self._enabled = enabled
        if device == "cuda" and enabled and not is_available():
            warnings.warn("torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.", stacklevel=2)
            self._enabled = False
        if not self._enabled:
            return
        if growth_factor <= 1.0:
            raise AssertionError("The growth factor must be > 1.0.")
        if backoff_factor >= 1.0:
            raise AssertionError("The backoff factor must be < 1.0.")
        self._init_scale = init_scale
        self._scale: Tensor | None = None
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._init_growth_tracker = 0
        self._growth_tracker: Tensor | None = None
        self._per_optimizer_states: dict[int, dict[str, Any]] = defaultdict(_fresh)

    # --- the steps of a training program

    def scale(self, outputs: Any) -> Any:
        """A Tensor, or several in lists, tuples or other iterables, times the scale. ``ValueError`` for others."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale_on(outputs.device)
        if isinstance(outputs, list | tuple):
            return type(outputs)(map(self.scale, outputs))
        if isinstance(outputs, Iterable):
            return map(self.scale, outputs)
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of the optimizer's parameters by the scale, in place, say to clip them before ``step``.
        ``RuntimeError`` a second time before ``update``; ``ValueError`` for float16 gradients."""
        if not self._enabled:
            return
        scale, _ = self._started("unscale_")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.UNSCALED:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        state["found_inf_per_device"] = self._unscale(optimizer, scale)
        state["stage"] = OptState.UNSCALED

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step(*args)`` if no gradient is infinite or NaN; unscales them before, unless that was done."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._started("step")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if state["stage"] is OptState.READY:
            self.unscale_(optimizer)
        found = state["found_inf_per_device"].values()
        if len(found) == 0:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        result = None if sum(f.item() for f in found) else optimizer.step(*args, **kwargs)
        state["stage"] = OptState.STEPPED
        return result

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """The next scale: ``new_scale``, or what follows from whether gradients overflowed."""
        if not self._enabled:
            return
        scale, tracker = self._started("update")
        if isinstance(new_scale, float):
            scale.fill_(new_scale)
        elif new_scale is not None:
            if new_scale.device.type != self._device or new_scale.numel() != 1 or new_scale.requires_grad:
                raise AssertionError("new_scale should be a float or a 1-element torch.cuda.FloatTensor or "
                                     "torch.FloatTensor with requires_grad=False.")
            scale.copy_(new_scale.reshape(()))
        else:
            found = [f.to(scale.device) for state in self._per_optimizer_states.values()
                     for f in state["found_inf_per_device"].values()]
            if not found:
                raise AssertionError("No inf checks were recorded prior to update.")
            with no_grad():
                update([scale, tracker], next_scale(scale, tracker, found, growth=float(self._growth_factor),
                                                    backoff=float(self._backoff_factor),
                                                    interval=int(self._growth_interval)))
        self._per_optimizer_states = defaultdict(_fresh)

    def _scale_on(self, device: Any) -> Tensor:
        if self._scale is None:
            if self._growth_tracker is not None:
                raise AssertionError("_growth_tracker initialized before _scale")
            self._scale = full((), self._init_scale, dtype=float32, device=device)
            self._growth_tracker = full((), self._init_growth_tracker, dtype=int32, device=device)
        return self._scale if self._scale.device == device else self._scale.to(device)

    def _started(self, name: str) -> tuple[Tensor, Tensor]:
        fix = "This may indicate your script did not use scaler.scale(loss or outputs) earlier in the iteration."
        if self._scale is None:
            raise AssertionError(f"Attempted {name} but _scale is None.  {fix}")
        if self._growth_tracker is None:
            raise AssertionError(f"Attempted {name} but _growth_tracker is None.  {fix}")
        return self._scale, self._growth_tracker

    def _unscale(self, optimizer: Any, scale: Tensor) -> dict[Any, Tensor]:
        """Divides all gradients; by device, whether any is not finite. One computation for each device."""
        by_device: dict[Any, list[Tensor]] = defaultdict(list)
        for group in optimizer.param_groups:
            for p in group["params"]:
                if not isinstance(p, Tensor):
                    raise AssertionError(f"expected param to be torch.Tensor, got {type(p).__name__}")
                if p.grad is None:
                    continue
                if p.grad.dtype is float16:
                    raise ValueError("Attempting to unscale FP16 gradients.")
                by_device[p.grad.device].append(p.grad)
        found = {}
        with no_grad():
            inverse = scale.double().reciprocal().float()
            for device, grads in by_device.items():
                found[device], *values = unscaled(grads, inverse.to(device))
                update([g.detach() if g.requires_grad else g for g in grads], values)
        return found

    # --- what it is set to

    def get_scale(self) -> float:
        """The scale; 1 if disabled. It computes what is pending."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else float(self._scale.item())

    def _get_growth_tracker(self) -> int:
        if not self._enabled:
            return 0
        return self._init_growth_tracker if self._growth_tracker is None else int(self._growth_tracker.item())

    def get_growth_factor(self) -> float:
        """By what the scale grows."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set by what the scale grows."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """By what the scale is multiplied after an overflow."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set by what the scale is multiplied after an overflow."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """After how many good steps the scale grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set after how many good steps the scale grows."""
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on; empty if disabled."""
        if not self._enabled:
            return {}
        return {"scale": self.get_scale(), "growth_factor": self._growth_factor,
                "backoff_factor": self._backoff_factor, "growth_interval": self._growth_interval,
                "_growth_tracker": self._get_growth_tracker()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a ``state_dict``; ``RuntimeError`` for one of a disabled scaler."""
        if not self._enabled:
            return
        if len(state_dict) == 0:
            raise RuntimeError("The source state dict is empty, possibly because it was saved from a disabled instance "
                               "of GradScaler.")
        self._init_scale = state_dict["scale"]
        if self._scale is not None:
            self._scale.fill_(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._init_growth_tracker = state_dict["_growth_tracker"]
        if self._growth_tracker is not None:
            self._growth_tracker.fill_(state_dict["_growth_tracker"])

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if self._enabled:
            if len(self._per_optimizer_states) != 0:
                raise AssertionError("A GradScaler instance may only be pickled at the beginning of an iteration, or "
                                     "at the end after scaler.update().")
            state["_init_scale"], state["_init_growth_tracker"] = self.get_scale(), self._get_growth_tracker()
            state["_scale"] = state["_growth_tracker"] = None
        return state
