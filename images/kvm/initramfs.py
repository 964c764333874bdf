# SPDX-License-Identifier: BSD-2-Clause
"""cpio archives as Linux unpacks them for its first file system: the "newc" form (Linux: driver-api/early-userspace)."""

from __future__ import annotations

from collections.abc import Mapping

from images.common import ImageError

FOLDER, FILE, CHARACTER_DEVICE = 0o40000, 0o100000, 0o20000
CONSOLE = (5, 1)
_NAME_MAX = 255


def build(init: bytes, files: Mapping[str, tuple[bytes, int]] = {}) -> bytes:
    """The same bytes for the same content. files: by path, without a leading slash, content and permissions."""
    out = _Writer()
    out.add("dev", FOLDER | 0o755)
    out.add("dev/console", CHARACTER_DEVICE | 0o600, device=CONSOLE)
    out.add("init", FILE | 0o755, init)
    made = {"dev"}
    for path, (content, mode) in sorted(files.items()):
        parts = path.split("/")
        if not all(parts) or ".." in parts:
            raise ImageError(f"{path!r} is no path for an initramfs")
        for n in range(1, len(parts)):
            folder = "/".join(parts[:n])
            if folder not in made:
                out.add(folder, FOLDER | 0o755)
                made.add(folder)
        out.add(path, FILE | mode, content)
    out.add("TRAILER!!!", 0)
    return bytes(out.data)


class _Writer:
    def __init__(self) -> None:
        self.data = bytearray()
        self._inode = 0

    def add(self, name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        raw = name.encode() + b"\0"
        if len(raw) > _NAME_MAX:
            raise ImageError(f"{name!r} is too long for an initramfs")
        self._inode += 1
        links = 2 if mode & FOLDER and not mode & FILE else 1
        # inode, mode, uid, gid, links, mtime, size, device of the file system, device that it is, name's size, checksum
        fields = (self._inode, mode, 0, 0, links, 0, len(content), 0, 0, *device, len(raw), 0)
        self.data += b"070701" + b"".join(b"%08x" % f for f in fields) + raw
        self._pad()
        self.data += content
        self._pad()

    def _pad(self) -> None:
        self.data += bytes(-len(self.data) % 4)
