"""Stage: backward. In: ``with detect_anomaly():`` around a forward and a backward pass. Out: an error that names the op
whose gradient has NaN, in place of NaN in the parameters, and the line that called it.
Next: ``function.py``."""

from __future__ import annotations

import warnings

from minigrad.autograd.mode import mode
from minigrad.autograd.protocol import Front


class set_detect_anomaly:
    """From now on keep where each op is called, so that an error of its backward can say so, and with ``check_nan``
    look for NaN in gradients; or stop doing so. As a context: until its end.

    Source: https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.set_detect_anomaly
    """

    def __init__(self, mode_: bool, check_nan: bool = True) -> None:
        self.before = mode.anomaly, mode.check_nan
        _set(mode_, check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        _set(*self.before)


class detect_anomaly:
    """Inside, ``backward`` raises ``RuntimeError`` when a gradient has NaN (unless ``check_nan`` is False), and names
    the op. For this and every other error of a backward a warning says where the program had called the op, if it did
    so inside, too. Every gradient is looked at and every call is recorded, which costs time.

    Source: https://docs.pytorch.org/docs/stable/autograd.html#anomaly-detection

    >>> import minigrad, warnings
    >>> x = minigrad.tensor([-1.0], requires_grad=True)
    >>> with warnings.catch_warnings(action="ignore"), set_detect_anomaly(True):
    ...     x.sqrt().sum().backward()
    Traceback (most recent call last):
    RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.before, self.check_nan = (mode.anomaly, mode.check_nan), check_nan
        warnings.warn("Anomaly Detection has been enabled. This mode will increase the runtime and should only be "
                      "enabled for debugging.", stacklevel=2)

    def __enter__(self) -> None:
        self.before = mode.anomaly, mode.check_nan
        _set(True, self.check_nan)

    def __exit__(self, *exception: object) -> None:
        _set(*self.before)


def _set(anomaly: bool, check_nan: bool) -> None:
    if anomaly and not mode.anomaly:
        Front.watch()
    elif mode.anomaly and not anomaly:
        mode.watched -= 1
    mode.anomaly, mode.check_nan = anomaly, check_nan


def is_anomaly_enabled() -> bool:
    """Whether this thread keeps where ops are called."""
    return mode.anomaly


def is_anomaly_check_nan_enabled() -> bool:
    """Whether backward then looks for NaN, too."""
    return mode.check_nan
