# SPDX-License-Identifier: BSD-2-Clause
"""Somebody's own kernel: what is found in a folder, and what is said of what can't be used."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from images.common import ImageError, run_tool
from images.kvm import kernels
from images.tests import fake_kernels
from images.tests.conftest import assembled
from images.tests.fake_kernels import RELEASE, bzimage, module, modules


def zstd(data: bytes) -> bytes:
    return run_tool(["zstd", "-q", "-c"], stdin=data)


def build(folder: Path, files: dict[str, bytes], image: bytes | None = None) -> tuple[Path, Path]:
    for name, data in files.items():
        (folder / "modules" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "modules" / name).write_bytes(data)
    (folder / "bzImage").write_bytes(bzimage() if image is None else image)
    return folder / "bzImage", folder / "modules"


@pytest.mark.parametrize(
    "ending, pack",
    [("", lambda data: data), (".xz", lzma.compress), (".gz", gzip.compress), (".zst", zstd)],
    ids=["plain", "xz", "gz", "zst"],
)
def test_found_at_any_depth(tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]) -> None:
    folder = "lib/modules/x/kernel"
    files = {f"{folder}/{n}/{name}{ending}": pack(data) for n, (name, data) in enumerate(modules().items())}
    kernel = kernels.from_build(*build(tmp_path, files))
    assert (kernel.line, kernel.version, kernel.config) == ("", RELEASE, None)
    assert list(kernel.modules) == ["irqbypass", "kvm", "kvm-intel"]
    for name, path in kernel.modules.items():
        assert kernels.module_bytes(path) == modules()[f"{name}.ko"]


def test_irqbypass_may_be_built_in(tmp_path: Path) -> None:
    files = {"kvm.ko": module("kvm"), "kvm-intel.ko": module("kvm-intel", depends="kvm"), ".config": b"CONFIG_X=y\n"}
    files["old/irqbypass.ko"] = module("irqbypass", "5.0")
    kernel = kernels.from_build(*build(tmp_path, files))
    assert list(kernel.modules) == ["kvm", "kvm-intel"]
    assert kernel.config == tmp_path / "modules" / ".config"


def test_the_fitting_one_of_several(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for release in ("5.0", RELEASE, "7.0"):
        files |= {f"{release}/{name}": data for name, data in modules(release).items()}
    kernel = kernels.from_build(*build(tmp_path, files))
    assert {path.parent.name for path in kernel.modules.values()} == {RELEASE}


def without(name: str) -> dict[str, bytes]:
    return {key: data for key, data in modules().items() if key != name}


@pytest.mark.parametrize(
    "image, files, text",
    [
        (b"\x7fELF" + bytes(2000), modules(), "bzImage is not a bzImage of Linux"),
        (b"", modules(), "not a bzImage"),
        (bzimage()[:0x210], modules(), "not a bzImage"),
        (bzimage(xloadflags=0), modules(), "not for x86-64"),
        (bzimage("?"), modules(), "no version in its header"),
        (bzimage(), without("kvm.ko"), "has no module kvm .*CONFIG_KVM=m"),
        (bzimage(), without("kvm-intel.ko"), "has no module kvm-intel "),
        (bzimage(), without("irqbypass.ko"), "has no module irqbypass "),
        (bzimage("6.1.0-8"), modules(), "no module kvm for the kernel 6.1.0-8: .*kvm.ko is for 6.1.0-9-cloud-amd64"),
        (bzimage("6.1.0-9"), modules(), "no module kvm for the kernel 6.1.0-9: "),
        (bzimage(), modules() | {"kvm-intel.ko": module("kvm-intel", "6.1.0-8")}, "kvm-intel for the .* for 6.1.0-8"),
        (bzimage(), modules() | {"kvm-intel.ko": module("kvm-intel", RELEASE, "kvm,tdx")}, "needs the module tdx"),
        (bzimage(), modules() | {"kvm.ko": b"text"}, "kvm.ko is not a kernel module"),
        (bzimage(), without("kvm.ko") | {"kvm.ko.xz": b"text"}, "kvm.ko.xz can't be unpacked"),
        (bzimage(), without("kvm.ko") | {"kvm.ko.gz": b"text"}, "kvm.ko.gz can't be unpacked"),
        (bzimage(), without("kvm.ko") | {"kvm.ko.gz": gzip.compress(bytes(9))[:-9]}, "kvm.ko.gz can't be unpacked"),
        (bzimage(), without("kvm.ko") | {"kvm.ko.zst": b"text"}, "kvm.ko.zst can't be unpacked"),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, image: bytes, files: dict[str, bytes], text: str) -> None:
    with pytest.raises(ImageError, match=text):
        kernels.from_build(*build(tmp_path, files, image))


def test_missing_files(tmp_path: Path) -> None:
    image, folder = build(tmp_path, modules())
    with pytest.raises(ImageError, match="nowhere: No such file"):
        kernels.from_build(tmp_path / "nowhere", folder)
    with pytest.raises(ImageError, match="bzImage is no folder"):
        kernels.from_build(image, image)


def test_without_zstd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kvm.ko.zst"
    path.write_bytes(zstd(module("kvm")))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImageError, match="kvm.ko.zst can't be unpacked: zstd is not installed .*package zstd"):
        kernels.module_bytes(path)


def test_debug_information_is_left_out(tmp_path: Path) -> None:
    source, path = tmp_path / "kvm.c", tmp_path / "kvm.ko"
    source.write_text('int f(int x) { return x; }\nchar v[] __attribute__((section(".modinfo"))) = "a=b";\n')
    run_tool(["gcc", "-g", "-c", "-o", str(path), str(source)])
    assert b".debug_info" in path.read_bytes()
    data = kernels.module_bytes(path)
    assert b".debug_info" not in data and b".modinfo" in data


def test_digest(tmp_path: Path) -> None:
    image, folder = build(tmp_path, modules())
    before = kernels.from_build(image, folder).digest()
    assert kernels.from_build(image, folder).digest() == before
    for path, data in ((image, bzimage(size=2000)), (folder / "irqbypass.ko", module("irqbypass") + b"x")):
        old = path.read_bytes()
        path.write_bytes(data)
        assert kernels.from_build(image, folder).digest() != before
        path.write_bytes(old)


def test_header_that_an_assembler_made(tmp_path: Path) -> None:
    """fake_kernels.bzimage() could have the same mistakes as the reader."""
    files = {name: data for name, data in fake_kernels.modules("6.1.0-probe-cloud-amd64").items()}
    kernel = kernels.from_build(*build(tmp_path, files, assembled("linux_probe.asm", tmp_path)))
    assert kernel.version == "6.1.0-probe-cloud-amd64"
