# SPDX-License-Identifier: BSD-2-Clause
"""This machine's QEMU as files for an initramfs: program, libraries, their loader, firmware for `-M pc`."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from images.common import ImageError, find_tool, read_file, run_tool

PROGRAM = "qemu-system-x86_64"
# Where the VMM looks for them (vmm/qemu.c).
PLACE, FIRMWARE_PLACE = f"usr/bin/{PROGRAM}", "usr/share/qemu"
# All that a machine "pc" without network and screen asks for when it boots a multiboot kernel, in alternatives:
# which loader it is depends on QEMU's version.
FIRMWARE = (("bios-256k.bin",), ("kvmvapic.bin",), ("multiboot_dma.bin", "multiboot.bin"))
_ELF64 = b"\x7fELF\x02"

Files = dict[str, tuple[bytes, int]]


@dataclass(frozen=True)
class Collected:
    version: str  # of QEMU
    files: Files  # by path, without a leading slash: content and permissions

    def digest(self) -> str:
        h = hashlib.sha256()
        for path, (content, mode) in sorted(self.files.items()):
            h.update(f"{path} {mode:o} {hashlib.sha256(content).hexdigest()}\n".encode())
        return h.hexdigest()


def collect(program: str = PROGRAM) -> Collected:
    path = Path(find_tool(program)).resolve()
    data = read_file(path)
    if not data.startswith(_ELF64):
        raise ImageError(f"{path} is no program for x86-64 Linux, maybe a script that starts one")
    said = run_tool([str(path), "--version"]).decode(errors="replace")
    version = re.search(r"version (\d+(?:\.\d+)+)", said)
    if not version:
        raise ImageError(f"{path} doesn't look like QEMU: no version in its answer to --version")
    files: Files = {PLACE: (data, 0o755)}
    for library in libraries(path):
        files[str(library).lstrip("/")] = (read_file(library), 0o755)
    folders = [Path(line) for line in run_tool([str(path), "-L", "help"]).decode().splitlines()]
    for names in FIRMWARE:
        found = [folder / name for name in names for folder in folders if (folder / name).is_file()]
        if not found:
            raise ImageError(f"QEMU's {' or '.join(names)} is missing (Debian packages seabios and qemu-system-data)")
        # The first folder counts.
        for file in reversed(found):
            files[f"{FIRMWARE_PLACE}/{file.name}"] = (read_file(file), 0o644)
    return Collected(version[1], files)


def libraries(program: Path) -> list[Path]:
    """With the loader, all under the names by which they are looked for; none if the program is static."""
    try:
        text = run_tool(["ldd", str(program)]).decode()
    except ImageError as e:
        if "not a dynamic executable" in str(e):
            return []
        raise
    missing = re.findall(r"^\s*(\S+) => not found", text, re.M)
    if missing:
        raise ImageError(f"{program} lacks its libraries {', '.join(missing)}")
    # "name => path (address)"; the loader has no arrow, what the kernel brings has no path.
    return [Path(path) for path in re.findall(r"^\s*(?:\S+ => )?(/\S+) \(0x", text, re.M)]
