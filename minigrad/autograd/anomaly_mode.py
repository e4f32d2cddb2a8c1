"""Stage: backward. In: ``with detect_anomaly():`` around a forward and a backward pass. Out: an error that names the op
whose gradient has NaN, in place of NaN in the parameters.
Next: ``function.py``."""

from __future__ import annotations

import warnings

from minigrad.autograd.mode import mode


class set_detect_anomaly:
    """Look for NaN in gradients from now on, or not; as a context, until its end.

    Source: https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.set_detect_anomaly
    """

    def __init__(self, mode_: bool, check_nan: bool = True) -> None:
        self.prev = mode.anomaly
        mode.anomaly = mode_ and check_nan

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        mode.anomaly = self.prev


class detect_anomaly:
    """Inside, ``backward`` raises ``RuntimeError`` when a gradient has NaN, and names the op. Every gradient is looked
    at, which costs time.

    >>> import minigrad, warnings
    >>> x = minigrad.tensor([-1.0], requires_grad=True)
    >>> with warnings.catch_warnings(action="ignore"), set_detect_anomaly(True):
    ...     x.sqrt().sum().backward()
    Traceback (most recent call last):
    RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.prev, self.check_nan = mode.anomaly, check_nan
        warnings.warn("Anomaly Detection has been enabled. This mode will increase the runtime and should only be "
                      "enabled for debugging.", stacklevel=2)

    def __enter__(self) -> None:
        self.prev, mode.anomaly = mode.anomaly, self.check_nan

    def __exit__(self, *exception: object) -> None:
        mode.anomaly = self.prev


def is_anomaly_enabled() -> bool:
    """Whether backward looks for NaN in this thread."""
    return mode.anomaly
