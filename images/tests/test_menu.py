# SPDX-License-Identifier: BSD-2-Clause
"""What the USB stick's menu offers, and that images don't depend on when they are made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from images import mkimage
from images.common import ImageError
from images.menu import Entry, Option, all_legal, default_entries, load_options, with_required

OPTIONS = [
    Option(0x2, "no_intr", "no interrupts"),
    Option(0x4, "ept", "EPT"),
    Option(0x20, "unrestricted", "unrestricted guest", requires=0x4),
    Option(0x40, "l1_user", "user mode in L1", conflicts=0x2),
    Option(0x800, "l2_user", "user mode in L2", conflicts=0x2),
    Option(0x2000, "real_mode", "real mode", requires=0x20),
]


def test_masks_are_legal() -> None:
    assert with_required(0x2000, OPTIONS) == 0x2024
    assert all_legal(OPTIONS) == 0x2864


def test_default_entries() -> None:
    entries = default_entries(OPTIONS)
    assert entries[0] == Entry("Default run", "exit=none")
    lines = [entry.cmdline for entry in entries]
    for mask in (0x3C, 0x3E, 0x2, 0x4, 0x24, 0x40, 0x2024, 0x2864):
        assert f"opt={mask:#x} exit=none" in lines
    assert all(entry.cmdline.endswith("exit=none") for entry in entries)
    assert len({entry.title for entry in entries}) == len(entries)


def test_without_tables() -> None:
    assert [entry.cmdline for entry in default_entries([])][2:] == ["opt=0x3c exit=none", "opt=0x3e exit=none"]


def test_tables_file(tmp_path: Path) -> None:
    path = tmp_path / "tables.json"
    path.write_text(json.dumps({"options": [{"bit": "0x4", "name": "ept", "text": "EPT"}]}))
    assert load_options(path) == [Option(4, "ept", "EPT")]
    path.write_text("{}")
    with pytest.raises(ImageError, match="not the tables"):
        load_options(path)


def test_menu_needs_an_entry(probe: bytes) -> None:
    with pytest.raises(ImageError, match="needs an entry"):
        mkimage.menu_disk(probe, [])


def test_menu_of_an_l0() -> None:
    text = mkimage.menu_config([Entry("it's a", "opt=0x4"), Entry("b", "")], 7, "exit=none")
    assert text == (
        "set timeout=7\nset default=0\n"
        "menuentry 'it'\\''s a' {\n  multiboot /boot/l0.elf 'exit=none'\n  module /boot/kernel.elf 'opt=0x4'\n}\n"
        "menuentry 'b' {\n  multiboot /boot/l0.elf 'exit=none'\n  module /boot/kernel.elf\n}\n"
    )
    assert "module" not in mkimage.menu_config([Entry("a", "a")], 0)


def test_menu_command_line(tmp_path: Path, probe: bytes) -> None:
    kernel, l0, output = (tmp_path / n for n in ("kernel", "l0", "stick.img"))
    kernel.write_bytes(probe)
    l0.write_bytes(b"L0" * 5000)
    words = ["menu", "-o", str(output), "--entry", "a", "b", "--timeout", "3", str(kernel)]
    assert mkimage.main([*words, "--l0", str(l0), "exit=none"]) == 0
    assert output.read_bytes() == mkimage.menu_disk(probe, [Entry("a", "b")], timeout=3, l0=(b"L0" * 5000, "exit=none"))
    l0.write_bytes(b"")
    assert mkimage.main([*words, "--l0", str(l0), ""]) == 3


def test_same_input_same_image(probe: bytes) -> None:
    entries = default_entries(OPTIONS)
    assert mkimage.menu_disk(probe, entries) == mkimage.menu_disk(probe, entries)
    assert mkimage.case_image(probe, "a") == mkimage.case_image(probe, "a")


def test_images_have_one_active_partition(probe: bytes) -> None:
    for disk in (mkimage.boot_disk(probe, "a"), mkimage.menu_disk(probe, [Entry("a", "a")])):
        assert len(disk) % mkimage.CYLINDER == 0
        assert disk[510:512] == b"\x55\xaa"
        table = disk[446:510]
        assert table[0] == 0x80
        assert table[16:] == bytes(48)
        start, count = (int.from_bytes(table[i : i + 4], "little") for i in (8, 12))
        assert (start + count) * 512 == len(disk)
