# SPDX-License-Identifier: BSD-2-Clause
"""QEMU in the appliance: is all there that it needs, and what if it isn't here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from images.common import ImageError
from images.kvm import qemu
from images.tests.conftest import BOOT_TIMEOUT

# Debian's QEMU emulates by modules. The appliance doesn't need them, but here is no KVM.
EMULATION = Path("/usr/lib/x86_64-linux-gnu/qemu")
# As in vmm/qemu.c, but for "-accel kvm".
MACHINE = (
    "-nodefaults -no-user-config -no-reboot -display none -monitor none -machine pc -accel tcg -L /usr/share/qemu "
    "-serial stdio -vga none -device isa-debug-exit,iobase=0xf4,iosize=0x04 -m 64 -smp 2 -kernel /l1.elf -append a=b"
)


def alone(folder: Path, *args: str) -> str:
    """QEMU where there is nothing but what is in folder."""
    command = ["unshare", "-r", "chroot", str(folder), f"/{qemu.PLACE}", *args]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOOT_TIMEOUT)
    if "unshare" in done.stderr:
        pytest.skip("this machine doesn't let its users change the root")
    return done.stdout + done.stderr


def test_all_that_it_needs(tmp_path: Path, probe: bytes) -> None:
    collected = qemu.collect()
    for name, (content, mode) in collected.files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
    assert f"QEMU emulator version {collected.version}" in alone(tmp_path, "-version")
    if EMULATION.is_dir():
        for module in EMULATION.glob("accel-tcg-*.so"):
            (tmp_path / str(module).lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(module, tmp_path / str(module).lstrip("/"))
    (tmp_path / "l1.elf").write_bytes(probe)
    (tmp_path / "module0").write_bytes(b"two")
    said = alone(tmp_path, *MACHINE.split(), "-initrd", "/module0 one x=y").replace("\r", "")
    # No complaint before.
    assert said.startswith("probe tsc=")
    assert said.endswith("mod=/module0 one x=y:00000003:006f7774 cmdline=/l1.elf a=b\n")


def test_the_same_each_time() -> None:
    one, other = qemu.collect(), qemu.collect()
    assert one.digest() == other.digest()
    name = next(iter(one.files))
    for changed in ({name: (b"x", 0o755)}, {name: (one.files[name][0], 0o700)}, {"x": (b"", 0o644)}):
        assert qemu.Collected(one.version, one.files | changed).digest() != one.digest()
    assert all(not path.startswith("/") and ".." not in path for path in one.files)


def test_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImageError, match="package qemu-system-x86:"):
        qemu.collect()


def test_script(tmp_path: Path) -> None:
    script = tmp_path / "qemu"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    with pytest.raises(ImageError, match="maybe a script"):
        qemu.collect(str(script))


def test_something_else() -> None:
    with pytest.raises(ImageError, match="doesn't look like QEMU"):
        qemu.collect("ls")


def test_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ldd = tmp_path / "ldd"
    ldd.write_text("#!/bin/sh\necho '	libc.so.6 => /lib/libc.so.6 (0x01)'\necho '	liba.so.1 => not found'\n")
    ldd.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ImageError, match="lacks its libraries liba.so.1$"):
        qemu.libraries(Path("/bin/ls"))


def test_static_program(tmp_path: Path) -> None:
    source, program = tmp_path / "a.c", tmp_path / "a"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(["gcc", "-static", "-o", program, source], check=True)
    assert qemu.libraries(program) == []


def test_missing_firmware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu, "FIRMWARE", (*qemu.FIRMWARE, ("nothing.bin", "none.bin")))
    with pytest.raises(ImageError, match="nothing.bin or none.bin is missing"):
        qemu.collect()
