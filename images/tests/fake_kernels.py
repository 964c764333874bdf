# SPDX-License-Identifier: BSD-2-Clause
"""Kernels, modules and Debian's archive, as far as anybody looks at them before they are booted."""

from __future__ import annotations

import hashlib
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

RELEASE = "6.1.0-9-cloud-amd64"


def bzimage(release: str = RELEASE, *, xloadflags: int = 1, size: int = 0) -> bytes:
    data = bytearray(0x400)
    data[0x1FE:0x206] = b"\x55\xaa\xeb\x66HdrS"
    struct.pack_into("<H", data, 0x206, 0x20C)
    struct.pack_into("<H", data, 0x20E, 0x300 - 0x200)
    data[0x211] = 1
    struct.pack_into("<H", data, 0x236, xloadflags)
    text = f"{release} (somebody) #1 SMP".encode() + b"\0"
    data[0x300 : 0x300 + len(text)] = text
    return bytes(data).ljust(size, b"k")


def module(name: str, release: str = RELEASE, depends: str = "") -> bytes:
    words = f"license=GPL\0depends={depends}\0name={name.replace('-', '_')}\0vermagic={release} SMP mod_unload \0"
    return b"\x7fELF" + bytes(60) + words.encode()


def modules(release: str = RELEASE) -> dict[str, bytes]:
    """All that are needed, by file name."""
    return {
        "irqbypass.ko": module("irqbypass", release),
        "kvm.ko": module("kvm", release, "irqbypass"),
        "kvm-intel.ko": module("kvm-intel", release, "kvm"),
    }


class Archive:
    """An archive of packages in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = ""
        folder.mkdir()
        self.publish()

    @property
    def source(self) -> str:
        return f"deb [trusted=yes arch=amd64] file:{self.folder} ./"

    def publish(self) -> None:
        (self.folder / "Packages").write_text(self.index)

    def add(self, package: str, version: str, files: Mapping[str, bytes], depends: str = "") -> Path:
        tree = self.folder / "tree" / f"{package}_{version}"
        control = f"Package: {package}\nVersion: {version}\nArchitecture: amd64\n"
        control += f"Depends: {depends}\n" if depends else ""
        for name, data in {**files, "DEBIAN/control": f"{control}Maintainer: a\nDescription: b\n".encode()}.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(data)
        deb = self.folder / f"{package}_{version}_amd64.deb"
        command = ["dpkg-deb", "-Znone", "--root-owner-group", "--build", str(tree), str(deb)]
        subprocess.run(command, check=True, capture_output=True)
        sha256 = hashlib.sha256(deb.read_bytes()).hexdigest()
        self.index += f"{control}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {sha256}\n\n"
        self.publish()
        return deb

    def add_kernel(self, abi: str, version: str, *, size: int = 0) -> Path:
        """In one package, as up to 6.12."""
        release = f"{abi}-cloud-amd64"
        tree = f"lib/modules/{release}"
        files = {f"boot/vmlinuz-{release}": bzimage(release, size=size), f"boot/config-{release}": b"CONFIG_KVM=m\n"}
        files |= {f"{tree}/kernel/arch/x86/kvm/{name}": data for name, data in modules(release).items()}
        # What nobody wants.
        others = (f"boot/System.map-{release}", f"{tree}/kernel/arch/x86/kvm/kvm-amd.ko", f"{tree}/kvm.ko")
        files |= dict.fromkeys(others, b"x")
        return self.add(f"linux-image-{release}", version, files, "kmod, linux-base (>= 4.3~)")

    def add_split_kernel(self, abi: str, version: str) -> list[Path]:
        """In four packages, as from 7.0 on."""
        release = f"{abi}-cloud-amd64"
        tree = f"usr/lib/modules/{release}"
        parts = {
            "base": {f"{tree}/config": b"CONFIG_KVM=m\n"},
            "binary": {f"{tree}/vmlinuz": bzimage(release)},
            "modules": {f"{tree}/kernel/arch/x86/kvm/{name}": data for name, data in modules(release).items()},
        }
        named = {f"linux-{part}-{release}": files for part, files in parts.items()}
        depends = ", ".join(["dracut | initramfs-tools (>= 0.1)", *(f"{name} (= {version})" for name in named)])
        out = [self.add(f"linux-image-{release}", version, {}, depends)]
        return out + [self.add(name, version, files) for name, files in named.items()]
