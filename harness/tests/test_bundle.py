# SPDX-License-Identifier: BSD-2-Clause
"""--bundle: the folder for a bug report."""

from __future__ import annotations

import json
import lzma
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness import bundle, engines
from harness.engines.bochs import BochsEngine
from harness.errors import EnvironmentProblem, UsageError
from harness.settings import ARCHS, Settings
from harness.stacks import parse
from harness.tests.conftest import Runner
from harness.tests.fake_lhv import L0_PANIC
from images import mkimage


def test_ids(fake_build_dir: Path) -> None:
    settings = Settings(build=fake_build_dir)
    for id, item in (
        ("bochs/amd64/2cpu/opt/0x003c/ept/cpu1", "opt/0x003c"), ("bochs@2.7:tigerlake/i386/1cpu/opt/0x0000", "opt/0x0000"),
        ("qemu-kvm/amd64/8cpu/test/ept/violation", "test/ept/violation"), ("bochs/amd64/1cpu/test/canary/fail", "test/canary/fail"),
    ):  # fmt: skip
        case = bundle.find_case(id, settings)
        assert case.item.id == item and id.startswith(case.id)
    for id in ("bochs/xmhf-nest/i386/2cpu/opt/0x0000/base/cpu1", "bochs@2.7/xmhf-nest+disk/amd64/1cpu/test/ept/violation"):
        case = bundle.find_case(id, replace(settings, l1_boot="disk"))
        assert id.startswith(case.id) and case.machine.stack.name in id
    for id in ("bochs/xmhf-nest-i386/amd64/1cpu/opt/0x0000", "bochs/l0/amd64/1cpu/opt/0x0000", "bochs/xen/amd64/1cpu/opt/0x0000",
               "", "opt/0x003c", "bochs/amd64/0cpu/opt/0x003c", "bochs/arm/1cpu/opt/0x0000", "xen/amd64/1cpu/opt/0x0000",
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


@pytest.mark.parametrize("stack,way", [("xmhf-nest", "module"), ("xmhf-nest+disk", "disk"), ("l0", "disk")])
def test_folder_of_a_nested_stack(run: Runner, tmp_path: Path, fake_build_dir: Path, stack: str, way: str) -> None:
    """Whoever gets it has both layers, and commands that boot both."""
    other = tmp_path / "other.img"
    other.write_bytes(b"other's L0".ljust(510, b"\0") + b"\x55\xaa" + bytes(512 * 1007))
    words = [f"--l0={other}"] if stack == "l0" else []
    done = run(f"--bundle=bochs/{stack}/amd64/1cpu/opt/0x0004", f"--bundle-dir={tmp_path / 'out'}", *words,
               script={"text": L0_PANIC.decode()}, defaults=False)  # fmt: skip
    assert done.code == 0, done.err
    (folder,) = (tmp_path / "out").iterdir()
    assert done.out == f"{folder}: CRASH\n", "L0's panic is seen"
    lhv, nest = (fake_build_dir / name / f"{name}-amd64.elf" for name in ("lhv", "xmhf-nest"))
    text = "opt=0x0004 cpus=1 seed=1 run=bundle exit=bochs"
    disks = {"case.img": mkimage.case_image(nest.read_bytes(), "exit=bochs"), "second.img": mkimage.case_image(lhv.read_bytes(), text)}
    if stack == "l0":
        disks["case.img"] = other.read_bytes()
    if way == "module":
        disks = {"case.img": mkimage.case_image(nest.read_bytes(), "exit=bochs", [(lhv.read_bytes(), text)])}
    found = {p.name.removesuffix(".xz"): lzma.decompress(p.read_bytes()) for p in folder.glob("*.img.xz")}
    assert found == disks
    rc, head, kvm = ((folder / n).read_text() for n in ("bochsrc", "run-bochs.sh", "run-qemu-kvm.sh"))
    assert 'ata0-master: type=disk, path="case.img"' in rc and ('ata0-slave: type=disk, path="second.img"' in rc) == (way == "disk")
    assert f"for image in {' '.join(disks)}; do" in head and f"for image in {' '.join(disks)}; do" in kvm
    assert ("file=second.img,format=raw,if=ide,index=1" in kvm) == (way == "disk")
    environment = json.loads((folder / "env.json").read_text())
    l0 = other.name if stack == "l0" else nest.name
    assert (environment["l0"], environment["l1_boot"], environment["stack"]) == (l0, way, f"bochs/{stack}")
    assert (environment["second_sha256"] is not None) == (way == "disk")
    report = (folder / "REPORT.md").read_text()
    assert report.startswith(f"# {stack.removesuffix('+disk')} on bochs 9.0: 0x0004: CRASH\n") and l0 in report
    assert ("second.img.xz" in report) == (way == "disk")
    for script in folder.glob("*.sh"):
        subprocess.run(["sh", "-n", str(script)], check=True)


@pytest.mark.parametrize("stack", ["bochs", "bochs/xmhf-nest", "bochs/xmhf-nest+disk", "bochs@2.7/xmhf-nest"])
def test_the_folder_repeats_its_case(tmp_path: Path, stack: str) -> None:
    """For real: the script in the folder, with Debian's Bochs or ours, prints what actual.txt has."""
    settings = Settings()
    if not all(settings.kernel(a).exists() for a in ARCHS) or not settings.layer("xmhf-nest").exists():
        pytest.skip("lhv or xmhf-nest isn't built")
    try:
        engine = engines.find(parse(stack))
    except EnvironmentProblem as e:
        pytest.skip(str(e))
    settings = replace(settings, stacks=("bochs",))
    assert bundle.make(f"{stack}/i386/1cpu/test/canary/fail", tmp_path, settings) == 0
    (folder,) = tmp_path.iterdir()
    assert (b"xmhf-nest: " in (folder / "actual.txt").read_bytes()) == ("nest" in stack)
    report = (folder / "REPORT.md").read_text()
    assert "canary/fail: BAD" in report.splitlines()[0] and "wanted `0x1`, got `0x2`" in report
    assert isinstance(engine, BochsEngine)
    done = subprocess.run(
        [str(folder / "run-bochs.sh")], env={"PATH": "/usr/bin:/bin", "BOCHS": engine.path}, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert "verdict=BAD" in done.stdout, done.stdout + done.stderr
    assert done.stdout.strip() in (folder / "actual.txt").read_text()
    com1 = (folder / "com1.txt").read_text()
    assert ("xmhf-nest: " in com1) == ("nest" in stack)
