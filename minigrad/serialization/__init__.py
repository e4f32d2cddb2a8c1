"""Stage: serialization. In: Tensors, modules, optimizer states, nested in containers. Out: checkpoints that PyTorch
opens, and what is in its and ours. ``torch.serialization``'s names.
Next: ``names.py``."""

from minigrad.serialization.load import get_unsafe_globals_in_checkpoint, load
from minigrad.serialization.locations import default_restore_location, location_tag, register_package
from minigrad.serialization.options import (
    LoadEndianness,
    get_crc32_options,
    get_default_load_endianness,
    get_default_mmap_options,
    set_crc32_options,
    set_default_load_endianness,
    set_default_mmap_options,
    skip_data,
)
from minigrad.serialization.safe_globals import (
    StorageType,
    add_safe_globals,
    clear_safe_globals,
    get_safe_globals,
    safe_globals,
)
from minigrad.serialization.save import save

__all__ = [
    "LoadEndianness", "StorageType", "add_safe_globals", "clear_safe_globals", "default_restore_location",
    "get_crc32_options", "get_default_load_endianness", "get_default_mmap_options", "get_safe_globals",
    "get_unsafe_globals_in_checkpoint", "load", "location_tag", "register_package", "safe_globals", "save",
    "set_crc32_options", "set_default_load_endianness", "set_default_mmap_options", "skip_data",
]
