"""Stage: serialization. In: a pickle from anywhere. Out: what it describes, made of Tensors, containers and what the
user called safe. It runs no other code: it is a machine of its own for the few pickle instructions that ``save`` uses,
and looks names up in a table instead of importing them.
Next: ``legacy.py``."""

from __future__ import annotations

import pickle
import warnings
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter, OrderedDict
from collections.abc import Callable
from struct import error as StructError
from struct import unpack
from typing import IO, Any

from minigrad.nn.parameter import Parameter
from minigrad.serialization.rebuild import set_state
from minigrad.serialization.safe_globals import BLOCKED_MODULES, added_by_name, always_allowed, checked_key
from minigrad.tensor import Tensor, device

MOST_LINE = 4096  # bytes of a name
_PIECE = 1 << 20
_SIMPLE: dict[int, Callable[[], Any]] = {
    pickle.NONE[0]: lambda: None, pickle.NEWFALSE[0]: lambda: False, pickle.NEWTRUE[0]: lambda: True,
    pickle.EMPTY_TUPLE[0]: lambda: (), pickle.EMPTY_LIST[0]: list, pickle.EMPTY_DICT[0]: dict, pickle.EMPTY_SET[0]: set,
}
_DICTS = (dict, OrderedDict, Counter)

# Instructions whose only effect on the file's position is so many bytes.
_LENGTHS = {op[0]: 0 for op in (
    pickle.NEWOBJ, pickle.REDUCE, pickle.BUILD, pickle.APPEND, pickle.APPENDS, pickle.SETITEM, pickle.SETITEMS,
    pickle.MARK, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.NONE, pickle.NEWFALSE,
    pickle.NEWTRUE, pickle.EMPTY_TUPLE, pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.EMPTY_SET, pickle.BINPERSID)}
_LENGTHS |= {pickle.BININT[0]: 4, pickle.BININT1[0]: 1, pickle.BININT2[0]: 2, pickle.BINFLOAT[0]: 8,
             pickle.BINGET[0]: 1, pickle.LONG_BINGET[0]: 4, pickle.BINPUT[0]: 1, pickle.LONG_BINPUT[0]: 4,
             pickle.PROTO[0]: 1}


class _Source:
    """Reads the pieces of a pickle. ``EOFError`` where it ends too early."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def take(self, count: int) -> bytes:
        data = self._file.read(min(count, _PIECE))
        if count > _PIECE:  # the length may be a lie, so memory grows with what comes
            pieces = [data]
            while len(pieces[-1]) == _PIECE:
                pieces.append(self._file.read(min(count - _PIECE * len(pieces), _PIECE)))
            data = b"".join(pieces)
        if len(data) != count:
            raise EOFError
        return data

    def name(self) -> tuple[str, str]:
        """The module and the name of a global, as Python 3 calls them."""
        parts = []
        for _ in range(2):
            line = self._file.readline(MOST_LINE)
            if not line.endswith(b"\n"):
                raise EOFError
            parts.append(line[:-1].decode("utf-8"))
        place = parts[0], parts[1]
        return NAME_MAPPING.get(place) or (IMPORT_MAPPING.get(place[0], place[0]), place[1])

    def text(self) -> bytes:
        """Text with its length before it."""
        return self.take(unpack("<I", self.take(4))[0])


def globals_in(file: IO[bytes]) -> set[str]:
    """The names of all classes and functions in a pickle, without running it."""
    source, found = _Source(file), set()
    while True:
        op = source.take(1)[0]
        if op == pickle.GLOBAL[0]:
            found.add(".".join(source.name()))
        elif op in _LENGTHS:
            source.take(_LENGTHS[op])
        elif op == pickle.BINUNICODE[0]:
            source.text()
        elif op in (pickle.SHORT_BINSTRING[0], pickle.LONG1[0]):
            source.take(source.take(1)[0])
        elif op == pickle.STOP[0]:
            return found
        else:
            raise pickle.UnpicklingError(f"Unsupported operand {op}")


class Unpickler:
    """The machine. ``persistent_load`` gives the storage that a tuple in the pickle stands for.

    Raises ``UnpicklingError`` for what is not allowed and ``EOFError`` for a pickle that is cut off.

    >>> import io
    >>> Unpickler(io.BytesIO(pickle.dumps({"a": [1, 2.5, "x"]}, 2))).load()
    {'a': [1, 2.5, 'x']}
    """

    persistent_load: Callable[[Any], Any]

    def __init__(self, file: IO[bytes], *, encoding: str = "utf-8") -> None:
        self._source = _Source(file)
        self._encoding = encoding
        self._memo: dict[int, Any] = {}
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._allowed = always_allowed()
        self._added = added_by_name()
        self._added_ids = {id(known) for known in self._added.values()}
        # of our own, classes are only parts of other things; a device is made by calling it
        self._callable = self._added_ids | {
            id(known) for known in self._allowed.values() if not isinstance(known, type) or known is device}

    def load(self) -> Any:
        """What the pickle describes."""
        source = self._source
        try:
            while True:
                op = source.take(1)[0]
                if op == pickle.STOP[0]:
                    return self._stack.pop()
                made = _SIMPLE.get(op)
                if made is not None:
                    self._stack.append(made())
                    continue
                step = _STEPS.get(op)
                if step is None:
                    raise pickle.UnpicklingError(f"Unsupported operand {op}")
                step(self)
        except (IndexError, KeyError, StructError, UnicodeDecodeError) as error:
            # the stack is empty, there is no such memo, or text is none
            raise pickle.UnpicklingError(f"invalid pickle ({type(error).__name__}: {error})") from error

    # --- names, calls and state: what could run code

    def _global(self) -> None:
        module, name = self._source.name()
        full = f"{module}.{name}"
        if module.partition(".")[0] in BLOCKED_MODULES:
            raise pickle.UnpicklingError(
                f"Trying to load unsupported GLOBAL {full} whose module {module} is blocked.")
        for table in (self._allowed, self._added):
            if full in table:
                self._stack.append(table[full])
                return
        shown = full.removeprefix("builtins.")
        raise pickle.UnpicklingError(
            f"Unsupported global: GLOBAL {shown} was not an allowed global by default. Please use "
            f"`torch.serialization.add_safe_globals([{shown}])` or the `torch.serialization.safe_globals([{shown}])` "
            "context manager to allowlist this global if you trust this class/function.")

    def _reduce(self) -> None:
        args, function = self._stack.pop(), self._stack[-1]
        if id(function) not in self._callable or not callable(function):
            raise pickle.UnpicklingError(f"Trying to call reduce for unrecognized function {function}")
        if type(args) is not tuple:
            raise pickle.UnpicklingError(f"arguments must be a tuple, but got {type(args)}")
        self._stack[-1] = self._made(function, args)

    def _is_added(self, obj: Any) -> bool:
        return id(obj) in self._added_ids

    def _made(self, function: Any, args: tuple[Any, ...]) -> Any:
        """The result of a call. Where one of ours does not take the arguments, the pickle is to blame."""
        if self._is_added(function):
            return function(*args)
        try:
            return function(*args)
        except (TypeError, ValueError, AttributeError) as error:
            raise pickle.UnpicklingError(f"can't call {getattr(function, '__name__', function)}: {error}") from error

    def _new_object(self) -> None:
        args, kind = self._stack.pop(), self._stack.pop()
        if kind is Parameter:
            self._stack.append(self._made(Parameter, args))
        elif kind is Tensor and not args:
            self._stack.append(Tensor(0))
        elif isinstance(kind, type) and self._is_added(kind):
            self._stack.append(kind.__new__(kind, *args))
        else:
            raise pickle.UnpicklingError("Can only create new object for nn.Parameter or classes allowlisted via "
                                         f"`add_safe_globals` but got {kind}")

    def _build(self) -> None:
        state, made = self._stack.pop(), self._stack[-1]
        kind = type(made)
        if kind is Tensor or (kind is Parameter and type(state) is tuple):
            self._made(_set_window, (made, *state))
        elif kind is OrderedDict:
            if type(state) is not dict:
                raise pickle.UnpicklingError(f"the state of an OrderedDict must be a dict, but got {type(state)}")
            made.__dict__.update(state)
        elif self._is_added(kind):
            own = getattr(made, "__setstate__", None)
            if own is not None:
                own(state)
            else:
                set_state(made, state)
        else:
            raise pickle.UnpicklingError("Can only build Tensor, Parameter, OrderedDict or types allowlisted via "
                                         f"`add_safe_globals`, but got {kind}")

    def _persistent(self) -> None:
        identity = self._stack.pop()
        if type(identity) is not tuple and type(identity) is not int:
            raise pickle.UnpicklingError(f"persistent_load id must be tuple or int, but got {type(identity)}")
        if type(identity) is tuple and identity and identity[0] not in ("storage", b"storage"):
            raise pickle.UnpicklingError(
                f"Only persistent_load of storage is allowed, but got {type(identity[0])}")
        self._stack.append(self.persistent_load(identity))

    # --- containers

    def _popped(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _list(self, what: str) -> list[Any]:
        target = self._stack[-1]
        if type(target) is not list:
            raise pickle.UnpicklingError(f"Can only {what} lists, but got {type(target)}")
        return target

    def _append(self) -> None:
        item = self._stack.pop()
        self._list("append to").append(item)

    def _appends(self) -> None:
        items = self._popped()
        self._list("extend").extend(items)

    def _set_items(self, what: str, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) not in _DICTS:
            raise pickle.UnpicklingError(f"Can only {what} for dict, collections.OrderedDict, collections.Counter, but "
                                         f"got {type(target)}")
        if len(items) % 2:
            raise pickle.UnpicklingError("odd number of items for a dictionary")
        try:
            for i in range(0, len(items), 2):
                target[checked_key(items[i])] = items[i + 1]
        except (TypeError, ValueError) as error:
            raise pickle.UnpicklingError(f"bad key of a dictionary: {error}") from error

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items("SETITEM", [key, value])

    def _tuple(self, count: int) -> None:
        stack = self._stack
        if len(stack) < count:
            raise IndexError("stack underflow")
        stack[-count:] = [tuple(stack[-count:])]

    # --- values

    def _integer(self, form: str, size: int) -> None:
        self._stack.append(unpack(form, self._source.take(size))[0])

    def _long(self) -> None:
        self._stack.append(pickle.decode_long(self._source.take(self._source.take(1)[0])))

    def _text(self) -> None:
        self._stack.append(str(self._source.text(), "utf-8", "surrogatepass"))

    def _old_text(self) -> None:
        data = self._source.take(self._source.take(1)[0])
        self._stack.append(data if self._encoding == "bytes" else data.decode(self._encoding))

    def _get(self, form: str, size: int) -> None:
        self._stack.append(self._memo[unpack(form, self._source.take(size))[0]])

    def _put(self, form: str, size: int) -> None:
        self._memo[unpack(form, self._source.take(size))[0]] = self._stack[-1]

    def _protocol(self) -> None:
        protocol = self._source.take(1)[0]
        if protocol != 2:
            warnings.warn(f"Detected pickle protocol {protocol} in the checkpoint, which was not the default pickle "
                          "protocol used by `torch.load` (2). The weights_only Unpickler might not support all "
                          "instructions implemented by this protocol, please file an issue for adding support if you "
                          "encounter this.", stacklevel=2)


def _set_window(tensor: Tensor, storage: Any, offset: int, size: Any, stride: Any) -> None:
    """How very old checkpoints fill in a tensor."""
    made = storage._untyped_storage.tensor(storage.dtype, tuple(size), tuple(stride), offset)
    tensor._storage, tensor._view = made._storage, made._view


_STEPS: dict[int, Callable[[Unpickler], None]] = {
    pickle.GLOBAL[0]: Unpickler._global, pickle.REDUCE[0]: Unpickler._reduce,
    pickle.NEWOBJ[0]: Unpickler._new_object, pickle.BUILD[0]: Unpickler._build,
    pickle.BINPERSID[0]: Unpickler._persistent, pickle.MARK[0]: Unpickler._mark,
    pickle.APPEND[0]: Unpickler._append, pickle.APPENDS[0]: Unpickler._appends,
    pickle.SETITEM[0]: Unpickler._set_item,
    pickle.SETITEMS[0]: lambda m: m._set_items("SETITEMS", m._popped()),
    pickle.TUPLE[0]: lambda m: (lambda items: m._stack.append(tuple(items)))(m._popped()),
    pickle.TUPLE1[0]: lambda m: m._tuple(1), pickle.TUPLE2[0]: lambda m: m._tuple(2),
    pickle.TUPLE3[0]: lambda m: m._tuple(3),
    pickle.BININT[0]: lambda m: m._integer("<i", 4), pickle.BININT1[0]: lambda m: m._integer("<B", 1),
    pickle.BININT2[0]: lambda m: m._integer("<H", 2), pickle.BINFLOAT[0]: lambda m: m._integer(">d", 8),
    pickle.LONG1[0]: Unpickler._long, pickle.BINUNICODE[0]: Unpickler._text,
    pickle.SHORT_BINSTRING[0]: Unpickler._old_text,
    pickle.BINGET[0]: lambda m: m._get("<B", 1), pickle.LONG_BINGET[0]: lambda m: m._get("<I", 4),
    pickle.BINPUT[0]: lambda m: m._put("<B", 1), pickle.LONG_BINPUT[0]: lambda m: m._put("<I", 4),
    pickle.PROTO[0]: Unpickler._protocol,
}
