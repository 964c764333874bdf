# SPDX-License-Identifier: BSD-2-Clause
"""The appliance's initramfs, as Linux' own reader would take it, and the disk that boots it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from images import grub, mkimage
from images.common import ImageError
from images.grub import SECTOR
from images.kvm import disk, initramfs
from images.tests.conftest import Emulators, assembled

FILES = {
    "dev/note": (b"a", 0o644),
    "kvm.ko": (b"module", 0o644),
    "usr/bin/vmm": (b"x" * 4097, 0o755),
    "usr/share/a/b": (b"", 0o600),
}
MEMORY_MB = 256


@dataclass(frozen=True)
class Entry:
    name: str
    mode: int
    links: int
    mtime: int
    device: tuple[int, int]
    content: bytes


def entries(archive: bytes) -> Iterator[Entry]:
    """By the rules of Linux: Documentation/driver-api/early-userspace/buffer-format.rst."""
    at = 0
    while True:
        assert at % 4 == 0
        assert archive[at : at + 6] == b"070701"
        fields = archive[at + 6 : at + 110]
        assert re.fullmatch(rb"[0-9a-f]{104}", fields)
        inode, mode, uid, gid, links, mtime, size, _, _, major, minor, named, check = (
            int(fields[n : n + 8], 16) for n in range(0, 104, 8)
        )
        assert (uid, gid, check) == (0, 0, 0)
        end = at + 110 + named
        assert archive[end - 1] == 0
        name = archive[at + 110 : end - 1].decode()
        assert "\0" not in name and not name.startswith("/")
        start = end + -end % 4
        if name == "TRAILER!!!":
            assert not any(archive[start:])
            return
        assert inode
        yield Entry(name, mode, links, mtime, (major, minor), archive[start : start + size])
        at = start + size + -size % 4


def test_archive() -> None:
    found = list(entries(initramfs.build(b"init", FILES)))
    by_name = {entry.name: entry for entry in found}
    assert len(by_name) == len(found)
    assert by_name["init"] == Entry("init", 0o100755, 1, 0, (0, 0), b"init")
    assert by_name["dev/console"] == Entry("dev/console", 0o020600, 1, 0, (5, 1), b"")
    for name, (content, mode) in FILES.items():
        assert by_name[name] == Entry(name, 0o100000 | mode, 1, 0, (0, 0), content)
    folders = {entry.name for entry in found if entry.mode & 0o170000 == 0o040000}
    assert folders == {"dev", "usr", "usr/bin", "usr/share", "usr/share/a"}
    # Linux makes no folders that aren't named before.
    seen = {""}
    for entry in found:
        assert entry.name.rpartition("/")[0] in seen
        seen.add(entry.name)
        assert entry.mtime == 0


def test_archive_is_the_same_each_time() -> None:
    backwards = dict(reversed(FILES.items()))
    assert list(backwards) != list(FILES)
    assert initramfs.build(b"init", FILES) == initramfs.build(b"init", backwards)


@pytest.mark.parametrize("name", ["/a", "a//b", "a/../b", "", "a" * 300])
def test_bad_names(name: str) -> None:
    with pytest.raises(ImageError):
        initramfs.build(b"init", {name: (b"", 0o644)})


@pytest.mark.skipif(shutil.which("cpio") is None, reason="no cpio here")
def test_archive_by_cpio() -> None:
    archive = initramfs.build(b"init", FILES)
    done = subprocess.run(["cpio", "-t", "--quiet"], input=archive, capture_output=True, check=True)
    assert done.stdout.decode().split() == [entry.name for entry in entries(archive)]
    assert not done.stderr


def words(archive: bytes) -> str:
    """What linux_probe.asm says of an initramfs that fills whole sectors."""
    archive = archive.ljust(-len(archive) % SECTOR + len(archive), b"\0")
    total = sum(memoryview(archive).cast("I")) & 0xFFFFFFFF
    return f"linux initrd={len(archive):08x} sum={total:08x}"


@pytest.fixture(scope="module")
def linux(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return assembled("linux_probe.asm", tmp_path_factory.mktemp("linux"))


# With QEMU it is larger yet, but the BIOS takes its time in an emulator.
@pytest.mark.parametrize("megabytes", [0, 20])
def test_disk_boots(linux: bytes, emulators: Emulators, megabytes: int) -> None:
    archive = initramfs.build(b"init", {"big": (bytes(range(256)) * 4096 * megabytes, 0o644)})
    output = emulators.qemu(disk.boot_disk(linux, archive, "console=ttyS0,115200 a=b"), memory_mb=MEMORY_MB)
    assert words(archive) in output
    # GRUB puts a word of its own before.
    assert re.search(r"cmdline=BOOT_IMAGE=\S+ console=ttyS0,115200 a=b\r", output)


def test_disk_boots_in_bochs(linux: bytes, emulators: Emulators) -> None:
    archive = initramfs.build(b"init", FILES)
    output = emulators.bochs(disk.boot_disk(linux, archive, "a"))
    assert words(archive) in output


def test_disk_is_the_same_each_time(linux: bytes) -> None:
    made = []
    for _ in range(2):
        grub.core_image.cache_clear()
        made.append(disk.boot_disk(linux, b"initramfs", "a b"))
    assert made[0] == made[1]
    assert len(made[0]) % mkimage.CYLINDER == 0
    assert made[0][510:512] == b"\x55\xaa"


def test_disk_refused(linux: bytes) -> None:
    for image, archive, cmdline in ((b"", b"x", "a"), (linux, b"", "a"), (linux, b"x", "a  b"), (linux, b"x", "a'b")):
        with pytest.raises(ImageError):
            disk.boot_disk(image, archive, cmdline)
