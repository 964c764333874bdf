# SPDX-License-Identifier: BSD-2-Clause
"""Bad input, missing tools, full disks: a message, the right exit code, no half files."""

from __future__ import annotations

import os
import resource
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from images import bochsrc, common, direct, grub, mkimage
from images.common import ImageError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def kernel(tmp_path: Path, probe: bytes) -> Path:
    path = tmp_path / "kernel"
    path.write_bytes(probe)
    return path


def test_usage_is_2() -> None:
    wrong: list[list[str]] = [[], ["nonsense"], ["boot", "kernel"], ["boot", "-o", "x", "k", "a", "b"]]
    for arguments in wrong:
        with pytest.raises(SystemExit) as e:
            mkimage.main(arguments)
        assert e.value.code == 2


def test_help_is_0() -> None:
    with pytest.raises(SystemExit) as e:
        mkimage.main(["boot", "--help"])
    assert e.value.code == 0


def test_runs_as_a_program(kernel: Path, tmp_path: Path) -> None:
    script = ROOT / "images" / "mkimage.py"
    subprocess.run([sys.executable, script, "boot", "-o", tmp_path / "o", kernel], check=True, cwd=tmp_path)
    assert (tmp_path / "o").stat().st_size % mkimage.CYLINDER == 0


def test_missing_kernel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mkimage.main(["boot", "-o", str(tmp_path / "o"), str(tmp_path / "none")]) == 3
    assert "No such file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "package"), [("boot", "nasm"), ("case", "grub-common"), ("menu", "grub-common"), ("iso", "xorriso")]
)
def test_missing_tool_names_its_package(
    kernel: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    package: str,
) -> None:
    direct.assembled.cache_clear()
    grub.core_image.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert mkimage.main([kind, "-o", str(tmp_path / "o"), str(kernel)]) == 3
    assert f"apt-get install {package}" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_missing_grub_files(monkeypatch: pytest.MonkeyPatch, probe: bytes) -> None:
    grub.boot_file.cache_clear()
    grub.core_image.cache_clear()
    monkeypatch.setattr(grub, "GRUB_DIR", Path("/nonexistent"))
    with pytest.raises(ImageError, match="grub-pc-bin"):
        mkimage.case_image(probe, "a")
    grub.boot_file.cache_clear()


def test_full_disk_leaves_the_old_file(kernel: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "disk.img"
    output.parent.mkdir()
    output.write_bytes(b"old")

    def limit() -> None:
        # The kernel answers a write behind the limit by an error, as it does on a full disk.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    command = [sys.executable, "-m", "images.mkimage", "boot", "-o", str(output), str(kernel)]
    done = subprocess.run(command, cwd=ROOT, preexec_fn=limit, capture_output=True, text=True)
    assert done.returncode == 3
    assert "disk.img" in done.stderr
    assert "Traceback" not in done.stderr
    assert output.read_bytes() == b"old"
    assert [path.name for path in output.parent.iterdir()] == ["disk.img"]


def test_unwritable_output(kernel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert mkimage.main(["boot", "-o", str(tmp_path / "file" / "o"), str(kernel)]) == 3
    assert "mkimage:" in capsys.readouterr().err


def test_written_files_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        common.write_file(tmp_path / "a", b"a")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("loader", ["direct", "grub"])
def test_bad_command_lines(probe: bytes, loader: str) -> None:
    for cmdline in ("x" * 4097, "\u00e4"):
        with pytest.raises(ImageError, match="command line"):
            mkimage.boot_disk(probe, cmdline, loader=loader)


@pytest.mark.parametrize("cmdline", ["a='b'", 'a="b"', "a\\b", "a  b", " a"])
def test_grub_refuses_what_it_would_change(probe: bytes, cmdline: str) -> None:
    with pytest.raises(ImageError, match="GRUB can't"):
        mkimage.boot_disk(probe, cmdline, loader="grub")


def test_bad_kernels(probe: bytes) -> None:
    for kernel, text in (
        (b"", "empty"),
        (bytes(10000), "no header"),
        (probe[:40], "don't fit"),
        (probe[:16], "cut off"),
        (multiboot_header(3) + bytes(100), "neither addresses"),
        (elf(segments=[]), "nothing to load"),
        (elf(segments=[(0x1000, 0x100000, 0x100000, 0x200000)])[:0x1100], "cut off"),
    ):
        with pytest.raises(ImageError, match=text):
            mkimage.boot_disk(kernel, "a")


def test_grub_boots_what_the_direct_loader_refuses() -> None:
    kernel = elf(segments=[(0x1000, 0x8000, 0x100, 0x100)])
    with pytest.raises(direct.NotDirect, match="below 1 MiB"):
        mkimage.boot_disk(kernel, "a", loader="direct")
    assert b"GRUB" in mkimage.boot_disk(kernel, "a")[:512]
    with pytest.raises(direct.NotDirect, match="features"):
        direct.load_kernel(elf(segments=[(0x1000, 0x100000, 0x100, 0x100)], flags=7))


def test_elf_becomes_one_piece() -> None:
    kernel = elf(segments=[(0x1000, 0x100000, 0x10, 0x10), (0x1010, 0x101000, 0x20, 0x3000)], entry=0x100004)
    flat = direct.load_kernel(kernel)
    assert (flat.start, flat.entry, flat.end) == (0x100000, 0x100004, 0x104000)
    assert len(flat.data) == 0x1020
    assert flat.data[0x10:0x1000] == bytes(0xFF0)
    assert flat.data[0x1000:] == kernel[0x1010:0x1030]


def test_bochsrc_input(tmp_path: Path) -> None:
    good: dict[str, Any] = {"disk": "d", "com1_path": "c", "log_path": "l"}
    wrong: list[dict[str, Any]] = [{"model": "x, ips=1"}, {"cpus": 9}, {"disk": None}]
    wrong += [{"disk": 'a"b'}, {"log_path": "$HOME"}]
    for bad in wrong:
        with pytest.raises(ImageError):
            bochsrc.bochsrc((2, 7), **{**good, **bad})
    with pytest.raises(ImageError, match="bx_generic"):
        bochsrc.bochsrc((3, 0), model="bx_generic", **good)
    with pytest.raises(ImageError, match="doesn't look like Bochs"):
        bochsrc.detect("true")
    with pytest.raises(ImageError, match="not installed"):
        bochsrc.detect(tmp_path / "none")


def multiboot_header(flags: int) -> bytes:
    return struct.pack("<III", 0x1BADB002, flags, -(0x1BADB002 + flags) & 0xFFFFFFFF)


def elf(segments: list[tuple[int, int, int, int]], entry: int = 0x100000, flags: int = 3) -> bytes:
    """An ELF file with a multiboot header; a segment is (offset, address, bytes in the file, bytes in memory)."""
    head = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    head += struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, entry, 52, 0, 0, 52, 32, len(segments), 0, 0, 0)
    for offset, address, filled, total in segments:
        head += struct.pack("<IIIIIIII", 1, offset, address, address, filled, total, 7, 0x1000)
    body = head + bytes(-len(head) % 4) + multiboot_header(flags)
    end = max((offset + filled for offset, _, filled, _ in segments), default=0)
    return body + bytes(i % 251 for i in range(len(body), max(end, len(body))))
