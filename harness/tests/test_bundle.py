# SPDX-License-Identifier: BSD-2-Clause
"""--bundle: the folder for a bug report."""

from __future__ import annotations

import json
import lzma
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness import bundle
from harness.errors import UsageError
from harness.settings import ARCHS, Settings
from harness.tests.conftest import Runner


def test_ids(fake_build_dir: Path) -> None:
    settings = Settings(build=fake_build_dir)
    for id, item in (
        ("bochs/amd64/2cpu/opt/0x003c/ept/cpu1", "opt/0x003c"), ("bochs@2.7:tigerlake/i386/1cpu/opt/0x0000", "opt/0x0000"),
        ("qemu-kvm/amd64/8cpu/test/ept/violation", "test/ept/violation"), ("bochs/amd64/1cpu/test/canary/fail", "test/canary/fail"),
    ):  # fmt: skip
        case = bundle.find_case(id, settings)
        assert case.item.id == item and id.startswith(case.id)
    for id in ("", "opt/0x003c", "bochs/amd64/0cpu/opt/0x003c", "bochs/arm/1cpu/opt/0x0000", "xen/amd64/1cpu/opt/0x0000",
               "bochs/amd64/1cpu/opt/0x0008", "bochs/amd64/1cpu/test/no/such"):  # fmt: skip
        with pytest.raises(UsageError):
            bundle.find_case(id, settings)


def test_folder(run: Runner, tmp_path: Path) -> None:
    """With the fake Bochs, whose boot.json has no command line here: nothing but the harness' own part is tested."""
    done = run("--bundle=bochs/amd64/1cpu/opt/0x0004", f"--bundle-dir={tmp_path / 'out'}", script={"text": "hello\r\n"},
               defaults=False)  # fmt: skip
    assert done.code == 0, done.err
    (folder,) = (tmp_path / "out").iterdir()
    assert done.out == f"{folder}: SILENT\n"
    assert {p.name for p in folder.iterdir()} == {
        "case.img.xz", "run-bochs.sh", "run-qemu-kvm.sh", "bochsrc", "bochsrc.dbg", "expected.txt", "actual.txt", "env.json",
        "REPORT.md",
    }  # fmt: skip
    assert lzma.decompress((folder / "case.img.xz").read_bytes())[510:512] == b"\x55\xaa"
    assert (folder / "actual.txt").read_bytes() == b"hello\r\n"
    assert (folder / "expected.txt").read_text().splitlines() == [
        "result id=opt/0x0004/base cpu=0 verdict=GOOD", "result id=opt/0x0004/ept cpu=0 verdict=GOOD",
    ]  # fmt: skip
    environment = json.loads((folder / "env.json").read_text())
    assert environment["version"] == "9.0" and environment["cmdline"] == "opt=0x0004 cpus=1 seed=1 run=bundle exit=bochs"
    for script in folder.glob("*.sh"):
        subprocess.run(["sh", "-n", str(script)], check=True)
        assert script.stat().st_mode & 0o111
    report = (folder / "REPORT.md").read_text()
    assert report.startswith("# bochs 9.0: 0x0004: SILENT\n") and "| opt/0x0004/ept/cpu0 | 0 | SILENT |" in report


def test_the_folder_repeats_its_case(tmp_path: Path) -> None:
    """For real: the script in the folder, with Debian's Bochs or ours, prints what actual.txt has."""
    settings = Settings()
    if not all(settings.kernel(a).exists() for a in ARCHS):
        pytest.skip("lhv isn't built")
    settings = replace(settings, stacks=("bochs",))
    assert bundle.make("bochs/i386/1cpu/test/canary/fail", tmp_path, settings) == 0
    (folder,) = tmp_path.iterdir()
    report = (folder / "REPORT.md").read_text()
    assert "canary/fail: BAD" in report.splitlines()[0] and "wanted `0x1`, got `0x2`" in report
    from harness import engines
    from harness.engines.bochs import BochsEngine
    from harness.stacks import parse

    engine = engines.find(parse("bochs"))
    assert isinstance(engine, BochsEngine)
    done = subprocess.run(
        [str(folder / "run-bochs.sh")], env={"PATH": "/usr/bin:/bin", "BOCHS": engine.path}, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert "verdict=BAD" in done.stdout, done.stdout + done.stderr
    assert done.stdout.strip() in (folder / "actual.txt").read_text()
