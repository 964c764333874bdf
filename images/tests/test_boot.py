# SPDX-License-Identifier: BSD-2-Clause
"""Images are booted: what arrives at the kernel, and how long it takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from images import bochsrc, build_bochs, mkimage
from images.menu import Entry
from images.tests.conftest import Emulators

CMDLINE = "opt=0x3c,0x3e test=ept*,intr/? name=a+b run=k3x9;$x #"


def said(output: str, name: str) -> str:
    """The value of name in the probe's line; the command line is its last part."""
    pattern = r"cmdline=(.*?)[\r\n]" if name == "cmdline" else rf"\b{name}=(\S*)"
    found = re.search(pattern, output)
    assert found, f"no {name} in {output!r}"
    return found[1]


@pytest.mark.parametrize("loader", ["direct", "grub"])
def test_command_line_arrives(probe: bytes, emulators: Emulators, loader: str) -> None:
    output = emulators.qemu(mkimage.boot_disk(probe, CMDLINE, loader=loader))
    assert said(output, "cmdline") == CMDLINE
    assert said(output, "magic") == "2badb002"


@pytest.mark.parametrize("loader", ["direct", "grub"])
def test_longest_command_line(probe: bytes, emulators: Emulators, loader: str) -> None:
    cmdline = ("x=" + "a*," * 1400)[:4096]
    assert said(emulators.qemu(mkimage.boot_disk(probe, cmdline, loader=loader)), "cmdline") == cmdline


def test_quotes_arrive(probe: bytes, emulators: Emulators) -> None:
    cmdline = """a="b  c" 'd' \\ e"""
    assert said(emulators.qemu(mkimage.boot_disk(probe, cmdline)), "cmdline") == cmdline


def test_modules_arrive(probe: bytes, emulators: Emulators) -> None:
    big = bytes(range(256)) * 4096
    disk = mkimage.boot_disk(probe, "a", [(big, "one x=y"), (b"two", "")], extra=b"E" * 5000)
    output = emulators.qemu(disk)
    assert said(output, "mods") == "00000002"
    assert "mod=one x=y:00100000:03020100" in output
    assert "mod=:00000003:006f7774" in output
    assert disk[mkimage.EXTRA_LBA * 512 :][:5000] == b"E" * 5000


def test_grub_modules_arrive_in_whole_sectors(probe: bytes, emulators: Emulators) -> None:
    output = emulators.qemu(mkimage.boot_disk(probe, "a", [(b"two", "m")], loader="grub"))
    assert "mod=m:00000200:006f7774" in output


def test_upper_memory(probe: bytes, emulators: Emulators) -> None:
    by_grub = said(emulators.qemu(mkimage.boot_disk(probe, "a", loader="grub")), "upper")
    assert said(emulators.qemu(mkimage.boot_disk(probe, "a")), "upper") == by_grub


@pytest.mark.parametrize("usb", [False, True])
def test_menu_boots_its_first_entry(probe: bytes, emulators: Emulators, usb: bool) -> None:
    disk = mkimage.menu_disk(probe, [Entry("it's first", CMDLINE), Entry("second", "b")], timeout=0)
    assert said(emulators.qemu(disk, usb=usb), "cmdline") == CMDLINE


def test_menu_boots_a_kernel_on_an_l0(probe: bytes, emulators: Emulators) -> None:
    """What GRUB boots is the L0; the kernel and the entry's command line are its module."""
    kernel = b"L1  " * 1000
    output = emulators.qemu(mkimage.menu_disk(kernel, [Entry("a", CMDLINE)], timeout=0, l0=(probe, "exit=none x")))
    assert said(output, "cmdline") == "exit=none x" and said(output, "mods") == "00000001"
    assert f"mod={CMDLINE}:00000fa0:2020314c" in output


BUILD = Path(__file__).resolve().parents[2] / "build"


@pytest.mark.parametrize("arch", ["i386", "amd64"])
@pytest.mark.parametrize("second", [False, True], ids=["module", "second-disk"])
def test_sticks_with_both_layers(emulators: Emulators, arch: str, second: bool) -> None:
    """As `make images` makes them, but for the time that the menu waits, and with an end."""
    files = [BUILD / name / f"{name}-{arch}.elf" for name in ("lhv", "xmhf-nest")]
    if not all(f.exists() for f in files):
        pytest.skip("lhv or xmhf-nest isn't built")
    lhv, nest = (f.read_bytes() for f in files)
    work, l0 = "opt=0x3c test=ept/rep_ins_absent_page exit=bochs", "exit=bochs kick=timer"
    if second:
        stick = mkimage.menu_disk(nest, [Entry("a", l0)], timeout=0)
        output = emulators.bochs(stick, second=mkimage.boot_disk(lhv, work))
    else:
        output = emulators.bochs(mkimage.menu_disk(lhv, [Entry("a", work)], timeout=0, l0=(nest, l0)))
    assert "xmhf-nest: " in output and "PANIC" not in output
    assert output.index("xmhf-nest: ") < output.index(" plan ")
    results = re.findall(r"result id=(\S+) cpu=0 verdict=(\w+)", output)
    assert {v for _, v in results} == {"GOOD"} and results[-1][0] == "test/ept/rep_ins_absent_page"
    assert re.search(r" done items=2 ", output)


@pytest.mark.parametrize("usb", [False, True])
def test_case_boots(probe: bytes, emulators: Emulators, usb: bool) -> None:
    disk = mkimage.case_image(probe, CMDLINE)
    assert len(mkimage.compress_xz(disk)) < 1 << 20
    assert said(emulators.qemu(disk, usb=usb), "cmdline") == CMDLINE


def test_iso_boots(probe: bytes, emulators: Emulators) -> None:
    assert said(emulators.qemu(mkimage.iso(probe, CMDLINE), cdrom=True), "cmdline") == CMDLINE


# From power-on to the kernel, in millions of emulated instructions; docs/images.md has what was measured.
@pytest.mark.parametrize(("loader", "limit"), [("direct", 6), ("grub", 60)])
def test_instructions_to_the_kernel(probe: bytes, emulators: Emulators, loader: str, limit: int) -> None:
    output = emulators.bochs(mkimage.boot_disk(probe, CMDLINE, loader=loader))
    assert said(output, "cmdline") == CMDLINE
    assert int(said(output, "tsc"), 16) < limit * 1_000_000


@pytest.mark.parametrize("cpus", [1, 2])
@pytest.mark.parametrize("model", ["corei7_skylake_x", "corei7_sandy_bridge_2600k", "corei5_lynnfield_750"])
def test_models(probe: bytes, emulators: Emulators, cpus: int, model: str) -> None:
    assert said(emulators.bochs(mkimage.boot_disk(probe, "a"), cpus=cpus, model=model), "cmdline") == "a"


def built_bochs() -> Path:
    return build_bochs.default_folder() / "bin" / "bochs"


@pytest.mark.skipif(not built_bochs().exists(), reason="make bochs has not been run")
@pytest.mark.parametrize("cpus", [1, 2])
def test_built_bochs(probe: bytes, emulators: Emulators, cpus: int) -> None:
    program = str(built_bochs())
    assert bochsrc.detect(program) == ((3, 0), False)
    disk = mkimage.boot_disk(probe, "a")
    assert said(emulators.bochs(disk, program=program, cpus=cpus), "cmdline") == "a"
