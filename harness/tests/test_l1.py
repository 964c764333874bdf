# SPDX-License-Identifier: BSD-2-Clause
"""--l1: somebody else's image, judged by regular expressions."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.l1 import inspect
from harness.tests.conftest import Runner
from harness.tests.fake_build import elf

ID = "bochs/x86/1cpu/l1/kernel.elf"


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    path = tmp_path / "kernel.elf"
    path.write_bytes(elf(b""))
    return path


@pytest.mark.parametrize("text,words,verdict,code", [
    ("booting\r\nPASS 3\r\n", ["--expect=^PASS [0-9]$"], "GOOD", 0),
    ("PASS 3\r\n", ["--expect=PASS", "--expect=3"], "GOOD", 0),
    ("PASS 3\r\n", ["--expect=PASS", "--expect=4"], "CRASH", 1),
    ("panic\r\nPASS\r\n", ["--expect=PASS", "--reject=panic"], "BAD", 1),
    ("nothing\r\n", ["--expect=PASS"], "CRASH", 1),
    ("", ["--expect=PASS"], "SILENT", 1),
])  # fmt: skip
def test_verdicts(run: Runner, kernel: Path, text: str, words: list[str], verdict: str, code: int) -> None:
    done = run(f"--l1={kernel}", "--append=a=1 b", *words, "-j1", defaults=False, script={"text": text})
    assert done.verdicts == {ID: verdict}, done.err
    assert done.code == code
    assert next(iter(done.document["boots"].values()))["cmdline"] == "a=1 b"
    assert done.document["logs"][ID] == text


def test_hang(run: Runner, kernel: Path) -> None:
    script = {"text": "starting\r\n", "then": "hang", "burn": True}
    done = run(f"--l1={kernel}", "--expect=PASS", "--timeout=0.4", "-j1", defaults=False, script=script)
    assert done.verdicts == {ID: "TIMEOUT"} and "not on COM1: PASS" in done.reasons[ID]


def test_good_does_not_wait_for_the_end(run: Runner, kernel: Path) -> None:
    script = {"text": "PASS\r\n", "then": "hang"}
    done = run(f"--l1={kernel}", "--expect=PASS", "--timeout=30", "-j1", defaults=False, script=script)
    assert done.verdicts == {ID: "GOOD"}


def test_infra(run: Runner, kernel: Path) -> None:
    done = run(f"--l1={kernel}", "--expect=PASS", "-j1", defaults=False, script={"start": "die"})
    assert done.verdicts == {ID: "INFRA"} and done.code == 3


def test_disk_image(run: Runner, tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(510) + b"\x55\xaa" + bytes(1 << 20))
    done = run(f"--l1={disk}", "--expect=PASS", "--cpus=1,2", "-j1", defaults=False, script={"text": "PASS\n"})
    assert done.verdicts == {"bochs/x86/1cpu/l1/disk.img": "GOOD", "bochs/x86/2cpu/l1/disk.img": "GOOD"}
    done = run(f"--l1={disk}", "--expect=PASS", "--append=x", defaults=False)
    assert done.code == 2 and "--append" in done.err


def test_what_can_be_booted(tmp_path: Path) -> None:
    path = tmp_path / "x"
    header = struct.pack("<III", 0x1BADB002, 0, -0x1BADB002 & 0xFFFFFFFF)
    sector = bytes(510) + b"\x55\xaa"
    elf_like = b"\x7fELF" + sector[4:] + header
    for data, multiboot in (
        (header, True), (bytes(8180) + header, True), (sector, False), (sector + bytes(512) + header, False), (elf_like, True),
    ):  # fmt: skip
        path.write_bytes(data)
        assert inspect(path).multiboot is multiboot
    for data in (b"", bytes(8192), bytes(8184) + header, bytes(2) + header, header[:-1] + b"\0", b"\x7fELF"):
        path.write_bytes(data)
        with pytest.raises(UsageError, match="neither"):
            inspect(path)
    with pytest.raises(UsageError, match="directory"):
        inspect(tmp_path)
