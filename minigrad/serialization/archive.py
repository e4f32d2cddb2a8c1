"""Stage: serialization. In: records, each a name and bytes. Out: an archive of them, byte for byte as PyTorch lays it
out: a zip without compression whose records begin at multiples of 64 bytes, so that memory can be mapped to them. And
the way back.
Next: ``replace.py``."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator
from struct import Struct
from typing import IO, Any

ALIGNMENT = 64
_MOST_32 = 0xFFFFFFFF
_CHUNK = 1 << 20  # bytes that are summed and then written while the processor's cache still holds them
_LOCAL = Struct("<4s5H3I2H")
_DESCRIPTOR, _DESCRIPTOR_64 = Struct("<4s3I"), Struct("<4sI2Q")
_CENTRAL = Struct("<4s6H3I5H2I")
_END_64, _LOCATOR_64, _END = Struct("<4sQ2H2I4Q"), Struct("<4sIQI"), Struct("<4s4H2IH")
_UTF8, _HAS_DESCRIPTOR = 1 << 11, 1 << 3

VERSION = b"3\n"
"""The version of the format that ``save`` writes; ``load`` reads up to ``NEWEST``."""
NEWEST = 10


def _combined(seed: int, value: int) -> int:
    mixed = value + 0x9E3779B9 + (seed << 6) + (seed >> 2)
    return (seed ^ mixed) & 0xFFFFFFFFFFFFFFFF


def _wide(nbytes: int, position: int) -> bytes:
    """What a header has behind it for numbers that 32 bits can't hold."""
    sizes = ([nbytes, nbytes] if nbytes >= _MOST_32 else []) + ([position] if position >= _MOST_32 else [])
    return Struct(f"<2H{len(sizes)}Q").pack(1, 8 * len(sizes), *sizes) if sizes else b""


def put(file: IO[bytes], data: Any) -> None:
    """Write all of ``data``, which has the buffer protocol, also to a file object that takes a part at a time."""
    view = memoryview(data).cast("B")
    while view.nbytes:
        written = file.write(view)
        if written is None or written >= view.nbytes:
            break
        view = view[written:]


class ArchiveWriter:
    """Writes records to a file object, one after another. ``close`` writes the last ones and the directory.

    >>> file = io.BytesIO()
    >>> writer = ArchiveWriter(file, "archive")
    >>> writer.write("data.pkl", b"N.")
    >>> writer.close()
    >>> ArchiveReader(file).read("data.pkl")
    b'N.'
    """

    def __init__(self, file: IO[bytes], folder: str, checksums: bool = True,
                 alignment: int = ALIGNMENT) -> None:
        if not isinstance(alignment, int) or not 1 <= alignment < 1 << 15:
            raise ValueError(f"storages can be aligned to 1 to 32767 bytes, got {alignment!r}")
        self._file, self._folder, self._checksums, self.alignment = file, folder, checksums, alignment
        self._at = 0
        self._entries: list[tuple[bytes, int, int, int]] = []  # name, size, CRC-32, position
        self._names = self._sums = 0

    def _put(self, data: Any) -> None:
        put(self._file, data)

    def write(self, name: str, data: Any) -> None:
        """Add a record with the bytes of ``data``, which has the buffer protocol."""
        view = memoryview(data).cast("B")
        self._open(name, view.nbytes)
        crc = 0
        for start in range(0, view.nbytes, _CHUNK):
            part = view[start:start + _CHUNK]
            if self._checksums:
                crc = zlib.crc32(part, crc)
            self._put(part)
        self._close(name, view.nbytes, crc)

    def leave_room(self, name: str, nbytes: int) -> None:
        """Add a record of ``nbytes`` zeros, without holding them."""
        self._open(name, nbytes)
        zeros = bytes(min(nbytes, _CHUNK))
        for start in range(0, nbytes, _CHUNK):
            self._put(memoryview(zeros)[:nbytes - start])
        self._close(name, nbytes, 0)

    def _open(self, name: str, nbytes: int) -> None:
        encoded = f"{self._folder}/{name}".encode()
        wide = _wide(nbytes, self._at)
        start = self._at + _LOCAL.size + len(encoded) + len(wide) + 4
        padding = -start % self.alignment
        flags = _UTF8 | (_HAS_DESCRIPTOR if nbytes else 0)
        self._put(_LOCAL.pack(b"PK\3\4", 0, flags, 0, 0, 0, 0, 0, 0, len(encoded), len(wide) + 4 + padding) + encoded
                  + wide + b"FB" + padding.to_bytes(2, "little") + b"Z" * padding)
        self._entries.append((encoded, nbytes, 0, self._at))
        self._at = start + padding

    def _close(self, name: str, nbytes: int, crc: int) -> None:
        encoded, _, _, position = self._entries[-1]
        self._entries[-1] = (encoded, nbytes, crc, position)
        self._at += nbytes
        if nbytes:
            layout = _DESCRIPTOR_64 if nbytes >= _MOST_32 or position >= _MOST_32 else _DESCRIPTOR
            self._put(layout.pack(b"PK\7\10", crc, nbytes, nbytes))
            self._at += layout.size
        if name != ".data/serialization_id":
            hashed = hashlib.blake2b(encoded, digest_size=8).digest()
            self._names = _combined(self._names, int.from_bytes(hashed, "little"))
            self._sums = _combined(self._sums, crc)

    def close(self) -> None:
        """Write the version, an identity made of the records, and the directory."""
        self.write("version", VERSION)
        self.write(".data/serialization_id", f"{self._names:020d}{self._sums:020d}".encode())
        start = self._at
        for name, nbytes, crc, position in self._entries:
            big, far = nbytes >= _MOST_32, position >= _MOST_32
            wide = _wide(nbytes, position)
            size = _MOST_32 if big else nbytes
            flags = _UTF8 | (_HAS_DESCRIPTOR if nbytes else 0)
            entry = _CENTRAL.pack(b"PK\1\2", 0, 0, flags, 0, 0, 0, crc, size, size, len(name), len(wide), 0, 0, 0, 0,
                                  _MOST_32 if far else position) + name + wide
            self._put(entry)
            self._at += len(entry)
        end, count, length = self._at, len(self._entries), self._at - start
        self._put(_END_64.pack(b"PK\6\6", 44, 0x31E, 45, 0, 0, count, count, length, start)
                  + _LOCATOR_64.pack(b"PK\6\7", 0, end, 1)
                  + _END.pack(b"PK\5\6", 0, 0, min(count, 0xFFFF), min(count, 0xFFFF), min(length, _MOST_32),
                              min(start, _MOST_32), 0))


_CORRUPT = ("This is an internal miniz error. If you are seeing this error, there is a high likelihood that your "
            "checkpoint file is corrupted. This can happen if the checkpoint was not saved properly, was transferred "
            "incorrectly, or the file was modified after saving.")


class ArchiveReader:
    """Reads the records of an archive that PyTorch or ``ArchiveWriter`` wrote. Nothing that the directory claims is
    believed: a record must lie in the file, once, under the name that stands before it. ``RuntimeError`` otherwise, in
    PyTorch's words where it has some."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        begin = file.tell()
        self.size = file.seek(0, io.SEEK_END)
        file.seek(begin)
        try:
            # an archive may begin in the middle of a file, behind another one
            entries = zipfile.ZipFile(file).infolist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, UnicodeDecodeError) as error:
            what = "not a ZIP archive" if self.size - begin < 22 else "failed finding central directory"
            raise RuntimeError(f"PytorchStreamReader failed reading zip archive: {what}. {_CORRUPT}") from error
        self._records: dict[str, zipfile.ZipInfo] = {}
        if not entries:
            raise RuntimeError(f"PytorchStreamReader failed reading zip archive: no records. {_CORRUPT}")
        self._folder = self._folder_of(entries[0].filename)
        for entry in entries:
            if not entry.filename.startswith(self._folder):
                continue
            name = entry.filename[len(self._folder):]
            if name in self._records:
                raise RuntimeError(f"the archive has two records {name!r}: it is no checkpoint")
            self._records[name] = entry
        if sum(entry.compress_size for entry in entries) > self.size:
            raise RuntimeError("the records of the archive overlap: it is no checkpoint")
        self._check_version()

    @staticmethod
    def _folder_of(name: str) -> str:
        if "/" not in name:
            raise RuntimeError(f"[enforce fail at inline_container.cc] . file in archive is not in a subdirectory: "
                               f"{name}")
        return name[:name.index("/") + 1]

    def _check_version(self) -> None:
        kept = "version" if "version" in self else ".data/version"
        if kept not in self:
            raise RuntimeError('Expected hasRecord("version") to be true, but got false.  (Could this error message be '
                               "improved?  If so, please report an enhancement request to PyTorch.)")
        text = self.read(kept)[:20].decode("ascii", "replace").strip()
        if not text.isdecimal():
            raise RuntimeError(f"Couldn't parse the version {text} as Long Long.")
        if int(text) > NEWEST:
            raise RuntimeError(f"[enforce fail at inline_container.cc] . Attempted to read a PyTorch file with version "
                               f"{text}, but the maximum supported version for reading is {NEWEST}. The version of "
                               "your PyTorch installation may be too old, please upgrade PyTorch to latest version to "
                               "mitigate this issue.")
        if int(text) < 1:
            raise RuntimeError(f"[enforce fail at inline_container.cc] . Attempted to read a PyTorch file with version "
                               f"{text}, but the minimum supported version for reading is 1.")

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def _entry(self, name: str) -> zipfile.ZipInfo:
        entry = self._records.get(name)
        if entry is None:
            raise RuntimeError(f"PytorchStreamReader failed locating file {name}: file not found. {_CORRUPT}")
        return entry

    def nbytes(self, name: str) -> int:
        """The size of a record."""
        return self._entry(name).file_size

    def offset(self, name: str) -> int | None:
        """Where in the file the bytes of a record begin; None if they are compressed."""
        entry = self._entry(name)
        start = self._start(name, entry)
        return None if entry.compress_type else start

    def _start(self, name: str, entry: zipfile.ZipInfo) -> int:
        bad = RuntimeError(f"PytorchStreamReader failed reading file {name}: invalid header. {_CORRUPT}")
        if not 0 <= entry.header_offset < self.size:
            raise bad
        self._file.seek(entry.header_offset)
        header = self._file.read(_LOCAL.size)
        if len(header) != _LOCAL.size:
            raise bad
        magic, _, flags, _, _, _, _, _, _, length, extra = _LOCAL.unpack(header)
        own = self._file.read(length)
        start = entry.header_offset + _LOCAL.size + length + extra
        if magic != b"PK\3\4" or (flags | entry.flag_bits) & 1 or own != entry.orig_filename.encode(
                "utf-8" if entry.flag_bits & _UTF8 else "cp437") or start + entry.compress_size > self.size:
            raise bad
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or (
                not entry.compress_type and entry.compress_size != entry.file_size):
            raise bad
        return start

    def read(self, name: str) -> bytes:
        """The bytes of a record."""
        made = bytearray(self._checked_size(name))
        self.read_into(name, memoryview(made))
        return bytes(made)

    def _checked_size(self, name: str) -> int:
        entry = self._entry(name)
        # deflate makes at most 1032 bytes of one
        if entry.file_size > (1032 * entry.compress_size + 64 if entry.compress_type else self.size):
            raise RuntimeError(f"PytorchStreamReader failed reading file {name}: invalid size. {_CORRUPT}")
        return entry.file_size

    def check(self, name: str, nbytes: int, of: str) -> None:
        """``RuntimeError`` unless the record has so many bytes, and can have them."""
        held = self._checked_size(name)
        if held != nbytes:
            raise RuntimeError(f"record size ({held} bytes) does not match expected size ({nbytes} bytes = {nbytes} "
                               f"elements * 1 bytes/element) for dtype {of}")

    def read_into(self, name: str, target: memoryview) -> None:
        """Fill ``target``, which has the record's size."""
        entry = self._entry(name)
        self._file.seek(self._start(name, entry))
        if not entry.compress_type:
            filled = fill(self._file, target)
        else:
            machine = zlib.decompressobj(-15)
            filled, given = 0, self._file.read(entry.compress_size)
            try:
                made = machine.decompress(given, len(target) + 1)
            except zlib.error as error:
                raise RuntimeError(f"PytorchStreamReader failed reading file {name}: decompression failed. "
                                   f"{_CORRUPT}") from error
            if len(made) == len(target):
                target[:] = made
                filled = len(made)
        if filled != len(target):
            raise RuntimeError(f"PytorchStreamReader failed reading file {name}: file read failed. {_CORRUPT}")


def fill(file: IO[bytes], target: memoryview) -> int:
    """Read into ``target`` until it is full or the file ends; how many bytes came."""
    into: Any = getattr(file, "readinto", None)
    done = 0
    while done < len(target):
        if into is not None:
            count = into(target[done:done + (1 << 30)])
        else:
            part = file.read(min(len(target) - done, 1 << 24))
            count = len(part)
            target[done:done + count] = part
        if not count:
            break
        done += count
    return done
