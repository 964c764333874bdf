# SPDX-License-Identifier: BSD-2-Clause
"""Kernel modules as files: packed or not, and what they say of themselves."""

from __future__ import annotations

import gzip
import lzma
import re
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from images.common import ImageError, read_file, run_tool

NAMES = ("irqbypass", "kvm", "kvm-intel")  # in the order in which they are loaded
_NEEDED = ("kvm", "kvm-intel")


def module_bytes(path: Path) -> bytes:
    """The module itself, unpacked: the appliance's kernel isn't to be asked for that."""
    data = read_file(path)
    try:
        if path.suffix == ".xz":
            data = lzma.decompress(data)
        elif path.suffix == ".gz":
            data = gzip.decompress(data)
        elif path.suffix == ".zst":
            data = run_tool(["zstd", "-d", "-q", "-c"], stdin=data)
    except (lzma.LZMAError, zlib.error, OSError, EOFError, ImageError) as e:
        raise ImageError(f"{path} can't be unpacked: {e}") from e
    if data[:4] != b"\x7fELF":
        raise ImageError(f"{path} is not a kernel module")
    return _without_debug_information(data) if b".debug_info\0" in data else data


def _without_debug_information(data: bytes) -> bytes:
    """As for `make INSTALL_MOD_STRIP=1 modules_install`: with it, KVM may not even fit into the appliance's memory."""
    with tempfile.TemporaryDirectory(prefix="lhv-module-") as folder:
        file = Path(folder, "module.ko")
        try:
            file.write_bytes(data)
        except OSError as e:
            raise ImageError(f"{file}: {e.strerror}") from e
        run_tool(["strip", "--strip-debug", str(file)])
        return read_file(file)


def plain_name(file: str) -> str:
    """kvm-intel for kvm-intel.ko.xz; empty for what is no module."""
    found = re.fullmatch(r"(.+)\.ko(?:\.xz|\.zst|\.gz)?", file)
    return found[1] if found else ""


def said(data: bytes, word: str) -> str:
    """A value from the section .modinfo, whose strings end in zeros and occur nowhere else."""
    found = re.search(rb"\0%s=([^\0]*)\0" % word.encode(), data)
    return found[1].decode("ascii", "replace") if found else ""


def made_for(data: bytes) -> str:
    """The release of the kernel that the module is for."""
    return said(data, "vermagic").partition(" ")[0]


def select(found: Mapping[str, list[Path]], release: str, where: str) -> dict[str, Path]:
    """Of the modules' files that were found, those that this kernel needs, in the order in which they are loaded."""
    chosen: dict[str, Path] = {}
    for name in _NEEDED:
        chosen[name], data = _fitting(name, found.get(name, []), release, where)
        for other in filter(None, said(data, "depends").split(",")):
            other = other.replace("_", "-")
            if other not in NAMES:
                raise ImageError(
                    f"{chosen[name]} needs the module {other}, which isn't loaded here: build it into the kernel"
                )
            if other not in chosen:
                chosen[other] = _fitting(other, found.get(other, []), release, where)[0]
    return {name: chosen[name] for name in NAMES if name in chosen}


def _fitting(name: str, paths: list[Path], release: str, where: str) -> tuple[Path, bytes]:
    others = []
    for path in paths:
        data = module_bytes(path)
        if made_for(data) == release:
            return path, data
        others.append(f"{path} is for {made_for(data) or 'no kernel'}")
    if others:
        raise ImageError(f"{where} has no module {name} for the kernel {release}: {', '.join(others)}")
    files = f"{name}.ko, .ko.xz, .ko.zst or .ko.gz"
    raise ImageError(f"{where} has no module {name} ({files}; CONFIG_KVM=m and CONFIG_KVM_INTEL=m are needed)")
