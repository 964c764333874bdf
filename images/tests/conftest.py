# SPDX-License-Identifier: BSD-2-Clause
from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from images import bochsrc
from images.common import ImageError, run_tool

QEMU = "qemu-system-i386"
BOOT_TIMEOUT = 60  # seconds; on an idle machine less than two


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A multiboot kernel that says what it was given: probe.asm."""
    return assembled("probe.asm", tmp_path_factory.mktemp("probe"))


def assembled(name: str, folder: Path) -> bytes:
    source, binary = Path(__file__).with_name(name), folder / "binary"
    run_tool(["nasm", "-f", "bin", "-I", f"{source.parent}/", "-o", str(binary), str(source)])
    return binary.read_bytes()


def run_killed(args: list[str], folder: Path) -> str:
    """Run an emulator to its end; it doesn't outlive the test. Returns both outputs."""
    # SIGKILL, because Bochs catches SIGTERM.
    process = subprocess.Popen(
        args, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        return process.communicate(timeout=BOOT_TIMEOUT)[0].decode(errors="replace")
    finally:
        process.kill()
        process.wait()


class Emulators:
    """Boots an image and returns what the probe said on COM1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def qemu(self, image: bytes, *, cdrom: bool = False, usb: bool = False, memory_mb: int = 64) -> str:
        path = self.folder / "qemu.img"
        path.write_bytes(image)
        drive = ["-drive", f"file={path},format=raw,if=ide"]
        if usb:
            drive = ["-device", "qemu-xhci", "-drive", f"id=stick,file={path},format=raw,if=none"]
            drive += ["-device", "usb-storage,drive=stick,bootindex=1"]
        if cdrom:
            drive = ["-cdrom", str(path)]
        machine = ["-m", str(memory_mb), "-display", "none", "-serial", "stdio", "-no-reboot"]
        return run_killed([QEMU, *machine, "-device", "isa-debug-exit,iobase=0xf4", *drive], self.folder)

    def bochs(
        self, image: bytes, *, program: str = "bochs-bin", cpus: int = 1, model: str = "corei7_haswell_4770",
        second: bytes | None = None,
    ) -> str:  # fmt: skip
        version, debugger = bochsrc.detect(program)
        disk, rc, com1, log = (self.folder / name for name in ("disk.img", "bochsrc", "com1", "log"))
        disk.write_bytes(image)
        other = self.folder / "second.img" if second is not None else None
        if other and second is not None:
            other.write_bytes(second)
        text = bochsrc.bochsrc(version, model=model, cpus=cpus, disk=disk, second=other, com1_path=com1, log_path=log)
        rc.write_text(text)
        output = run_killed(bochsrc.command(program, version, rc, debugger), self.folder)
        if not com1.exists():
            raise ImageError(f"nothing on COM1: {output[-1000:]}")
        return com1.read_text()


@pytest.fixture
def emulators(tmp_path: Path) -> Iterator[Emulators]:
    yield Emulators(tmp_path)
