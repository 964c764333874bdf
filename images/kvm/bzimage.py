# SPDX-License-Identifier: BSD-2-Clause
"""What the header of a bzImage says (Linux: Documentation/arch/x86/boot.rst)."""

from __future__ import annotations

import re
import struct

from images.common import ImageError

_BOOT_FLAG, _MAGIC, _PROTOCOL, _VERSION_POINTER, _LOADFLAGS, _XLOADFLAGS = 0x1FE, 0x202, 0x206, 0x20E, 0x211, 0x236
_HEADER_END = 0x238
_PROTOCOL_XLOADFLAGS = 0x20C
_LOADED_HIGH, _KERNEL_64 = 1, 1
_VERSION_MAX = 256


def release(data: bytes, name: str) -> str:
    """What `uname -r` will say. Raises ImageError for what isn't a kernel for x86-64; name is for the message."""
    high = len(data) >= _HEADER_END and data[_LOADFLAGS] & _LOADED_HIGH
    if not high or data[_BOOT_FLAG : _BOOT_FLAG + 2] != b"\x55\xaa" or data[_MAGIC : _MAGIC + 4] != b"HdrS":
        raise ImageError(f"{name} is not a bzImage of Linux for x86 (in its build tree: arch/x86/boot/bzImage)")
    protocol, pointer, xloadflags = (
        struct.unpack_from("<H", data, at)[0] for at in (_PROTOCOL, _VERSION_POINTER, _XLOADFLAGS)
    )
    if protocol < _PROTOCOL_XLOADFLAGS or not xloadflags & _KERNEL_64:
        raise ImageError(f"{name} is not for x86-64: its header has no 64-bit entry point")
    text = data[pointer + 0x200 :][:_VERSION_MAX].split(b"\0")[0].decode("ascii", "replace")
    if not pointer or not re.match(r"\d+\.\d+\S* ", text):
        raise ImageError(f"{name} has no version in its header")
    return text.split()[0]
