# SPDX-License-Identifier: BSD-2-Clause
"""Builds of KVM with patches, without the kernel's source: what is unpacked, what patches do, what is said."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from images.common import ImageError
from images.kvm import patched, source

TOP = Path(__file__).resolve().parent.parent.parent
SHIPPED = sorted((TOP / "images/kvm/patches").glob("*.patch"))


@pytest.mark.parametrize(
    "name, needed",
    [
        ("arch/x86/kvm/vmx/vmx.c", True),
        ("arch/Kconfig", True),
        ("arch/arm64/kvm/arm.c", False),
        ("arch/x86/Makefile", True),
        ("drivers/net/tun.c", False),
        ("drivers/net/Kconfig", True),
        ("drivers/net/Kconfig.debug", True),
        ("fs/Kconfig", True),
        ("fs/namei.c", False),
        ("scripts/mod/modpost.c", True),
        ("tools/objtool/check.c", True),
        ("tools/testing/selftests/kvm/x.c", False),
        ("virt/kvm/kvm_main.c", True),
        ("Makefile", True),
    ],
)
def test_what_is_unpacked(name: str, needed: bool) -> None:
    assert source.is_needed(name) == needed


def package(path: Path, files: dict[str, bytes]) -> Path:
    """A Debian package of these files."""
    root = path.parent / f"{path.name}.d"
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN/control").write_text(
        "Package: probe\nVersion: 1\nArchitecture: amd64\nMaintainer: nobody <nobody@example.org>\nDescription: probe\n"
    )
    subprocess.run(["dpkg-deb", "--build", str(root), str(path)], check=True, stdout=subprocess.DEVNULL)
    return path


def tarball(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def test_source_package(tmp_path: Path) -> None:
    files = {f"linux-source-9.9/{name}": name.encode() for name in ("Makefile", "fs/a.c", "fs/Kconfig")}
    deb = package(tmp_path / "linux-source.deb", {"usr/src/linux-source-9.9.tar.xz": tarball(files)})
    source._unpack_source(deb, tmp_path / "tree")
    found = sorted(str(path.relative_to(tmp_path / "tree")) for path in (tmp_path / "tree").rglob("*") if path.is_file())
    assert found == ["Makefile", "fs/Kconfig"]


def test_package_without_source(tmp_path: Path) -> None:
    deb = package(tmp_path / "linux-source.deb", {"usr/share/doc/x": b"x"})
    with pytest.raises(ImageError, match="has no source"):
        source._unpack_source(deb, tmp_path / "tree")


def test_configuration_without_kvms_own_symbols(tmp_path: Path) -> None:
    symbols = (
        "0x1\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n"
        "0x2\tkvm_x\tarch/x86/kvm/kvm\tEXPORT_SYMBOL_GPL\t\n"
        "0x3\tirq_x\tvirt/lib/irqbypass\tEXPORT_SYMBOL_GPL\t\n"
    )
    top = "usr/src/linux-headers-9.9"
    deb = package(
        tmp_path / "h.deb", {f"{top}/.config": b"CONFIG_KVM=m\n", f"{top}/Module.symvers": symbols.encode()}
    )
    (tmp_path / "tree").mkdir()
    source._take_configuration(deb, tmp_path / "tree")
    assert (tmp_path / "tree/.config").read_text() == "CONFIG_KVM=m\n"
    assert [line.split("\t")[1] for line in (tmp_path / "tree/Module.symvers").read_text().splitlines()] == [
        "printk",
        "irq_x",
    ]


PATCH = "--- a/dir/file\n+++ b/dir/file\n@@ -1,1 +1,1 @@\n-one\n+two\n"


def test_patches_in_order(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "dir").mkdir(parents=True)
    (tree / "dir/file").write_text("one\n")
    first, second = tmp_path / "1.patch", tmp_path / "2.patch"
    first.write_text(PATCH)
    second.write_text(PATCH.replace("+two", "+three").replace("-one", "-two"))
    patched.apply(tree, [first, second], tmp_path / "log")
    assert (tree / "dir/file").read_text() == "three\n"
    with pytest.raises(ImageError, match="1.patch doesn't apply to this kernel"):
        patched.apply(tree, [first], tmp_path / "log")


def test_no_such_patch(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as e:
        patched.main(["/nonexistent.patch"])
    assert e.value.code == 2
    assert "/nonexistent.patch: no such file" in capsys.readouterr().err


def test_without_archive(tmp_path: Path) -> None:
    """Neither network nor cache: exit 3, and what to do. The program is called as the Makefile does."""
    done = subprocess.run(
        [sys.executable, "-c", _OFFLINE, str(tmp_path)], capture_output=True, text=True, cwd=TOP, timeout=60
    )
    assert done.returncode == 3, done.stderr
    assert "Linux 6.1 can't be fetched" in done.stderr and "by hand" in done.stderr


_OFFLINE = """
import os, sys
os.environ["XDG_CACHE_HOME"] = sys.argv[1]
from images.kvm import debs, patched
debs.sources = lambda *_: ["deb [trusted=yes] file:/nonexistent x main"]
sys.exit(patched.main([]))
"""


@pytest.mark.parametrize("patch", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_shipped_patches_say_what_they_are(patch: Path) -> None:
    head = patch.read_text().partition("\n--- a/")[0]
    assert "SPDX-License-Identifier: GPL-2.0" in head
    finding = next(word.strip("()") for word in head.split() if word.strip("()").startswith("docs/findings/"))
    assert (TOP / finding).is_file()
