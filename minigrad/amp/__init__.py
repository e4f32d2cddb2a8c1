"""Stage: front. In: a program that computes in float32. Out: the same program with its products in a half type, and
losses scaled so that their gradients do not vanish there.
Next: ``autocast_mode.py``."""

from minigrad.amp.autocast_mode import autocast, custom_bwd, custom_fwd, is_autocast_available
from minigrad.amp.grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]
