"""Stage: PyTorch programs. In: nothing. Out: ``torch.Stream`` and ``torch.Event`` of the CPU: kernels run one after
another, so there is one stream, and nothing to wait for.
Next: ``native.py``."""

from __future__ import annotations

from typing import Any

from minigrad.tensor import device as as_device

__all__ = ["Event", "Stream"]


def _of_the_cpu(device: Any) -> Any:
    found = as_device(device or "cpu")
    if found.type != "cpu":
        raise RuntimeError(f"minigrad has one stream on {found.type} devices: its kernels run one after another")
    return as_device("cpu")


class Stream:
    """The order in which the CPU's kernels run: there is one. ``RuntimeError`` for other devices, and for what records
    events, as in PyTorch: the CPU has none.
    (https://docs.pytorch.org/docs/stable/generated/torch.Stream.html)

    >>> Stream().query(), Stream() == Stream("cpu")
    (True, True)
    """

    stream_id, device_index, device_type = 0, -1, 0

    def __init__(self, device: Any = None, *, priority: int = 0) -> None:
        self.device = _of_the_cpu(device)

    def synchronize(self) -> None:
        """Nothing: see ``torch.cpu.synchronize``."""

    def query(self) -> bool:
        """True: nothing is waited for."""
        return True

    def wait_event(self, event: Event) -> None:
        """Nothing: there is one stream."""

    def wait_stream(self, stream: Stream) -> None:
        """``RuntimeError``: the CPU has no events."""
        raise RuntimeError("cpu backend doesn't support events.")

    def record_event(self, event: Event | None = None) -> Event:
        """``RuntimeError``: the CPU has no events."""
        raise RuntimeError("cpu backend doesn't support events.")

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream)

    def __hash__(self) -> int:
        return hash(Stream)

    def __repr__(self) -> str:
        return "torch.Stream device_type=cpu, device_index=-1, stream_id=0"


class Event:
    """A point of a stream. The CPU's are never recorded: ``RuntimeError``, as in PyTorch.
    (https://docs.pytorch.org/docs/stable/generated/torch.Event.html)

    >>> Event().query()
    True
    """

    event_id = 0

    def __init__(self, device: Any = None, *, enable_timing: bool = False, blocking: bool = False,
                 interprocess: bool = False) -> None:
        self.device, self._timed = _of_the_cpu(device), enable_timing

    def record(self, stream: Stream | None = None) -> None:
        """``RuntimeError``: the CPU has no events."""
        raise RuntimeError("cpu backend doesn't support events.")

    def wait(self, stream: Stream | None = None) -> None:
        """Nothing: it has not been recorded."""

    def query(self) -> bool:
        """True: nothing is waited for."""
        return True

    def synchronize(self) -> None:
        """Nothing: it has not been recorded."""

    def elapsed_time(self, end_event: Event) -> float:
        """``ValueError``: neither has been recorded."""
        if not (self._timed and end_event._timed):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        raise ValueError("Both events must be recorded before calculating elapsed time.")

    def __repr__(self) -> str:
        return f"torch.Event device_type=cpu, device_index=-1, event_flag={int(self._timed)}, event_id=0"
