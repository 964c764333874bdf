# SPDX-License-Identifier: BSD-2-Clause
"""Kernels out of Debian's archive, here one on this disk: which one, whole or not at all, once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from images import apt
from images.common import ImageError
from images.kvm import debs, kernels, store
from images.tests import fake_kernels

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_kernels.Archive]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield fake_kernels.Archive(tmp_path / "archive")


def of(archive: fake_kernels.Archive) -> kernels.Archive:
    return kernels.Archive(sources=[archive.source])


def left(line: str) -> set[str]:
    """What is in a line's folder, without what has its place there."""
    return {path.name for path in (store.top() / line).iterdir()} - {".apt", ".lock"}


def test_lines() -> None:
    known = debs.lines()
    assert list(known) == ["5.10", "6.1", "6.12", "7.2"]
    assert known["6.1"].has("linux-image-6.1.0-56-cloud-amd64")
    assert known["6.12"].has("linux-image-6.12.117+deb13-cloud-amd64")
    for other in (
        "linux-image-6.12-cloud-amd64",
        "linux-image-6.12.117+deb13-cloud-amd64-unsigned",
        "linux-image-6.12.117+deb13-cloud-amd64-dbg",
        "linux-image-6.12.117+deb13-amd64",
        "linux-image-6.1.0-56-cloud-amd64",
    ):
        assert not known["6.12"].has(other)


def test_newest_is_chosen(archive: fake_kernels.Archive) -> None:
    for abi, version in (("9", "6.1.9-1"), ("11", "6.1.100-1"), ("10", "6.1.100-1~deb11u1"), ("8", "6.1.20-1")):
        archive.add_kernel(f"6.1.0-{abi}", version)
    archive.add("linux-image-6.1-cloud-amd64", "6.1.200-1", {}, "linux-image-6.1.0-11-cloud-amd64 (= 6.1.100-1)")
    archive.add("linux-image-6.1.0-12-cloud-amd64-unsigned", "6.1.300-1", {})
    assert kernels.versions("6.1", of(archive)) == ["6.1.9-1", "6.1.20-1", "6.1.100-1~deb11u1", "6.1.100-1"]
    kernel = kernels.fetch("6.1", archive=of(archive))
    assert (kernel.line, kernel.version) == ("6.1", "6.1.100-1")
    assert kernel.image.read_bytes() == fake_kernels.bzimage("6.1.0-11-cloud-amd64")
    assert list(kernel.modules) == ["irqbypass", "kvm", "kvm-intel"]
    assert kernels.module_bytes(kernel.modules["kvm"]) == fake_kernels.modules("6.1.0-11-cloud-amd64")["kvm.ko"]
    assert kernel.config and kernel.config.read_bytes() == b"CONFIG_KVM=m\n"
    assert {path.name for path in kernel.image.parent.iterdir()} == {
        "vmlinuz", "config", "irqbypass.ko", "kvm.ko", "kvm-intel.ko", "kernel.json"
    }  # fmt: skip
    assert kernels.cached("6.1") == kernel
    assert left("6.1") == {"6.1.100-1"}


def test_a_certain_version(archive: fake_kernels.Archive) -> None:
    archive.add_kernel("6.1.0-9", "6.1.9-1")
    archive.add_kernel("6.1.0-10", "6.1.10-1")
    old = kernels.fetch("6.1", "6.1.9-1", of(archive))
    assert old.version == "6.1.9-1"
    new = kernels.fetch("6.1", archive=of(archive))
    assert new.version == "6.1.10-1"
    assert old.digest() != new.digest()
    assert kernels.cached("6.1") == new
    assert kernels.cached("6.1", "6.1.9-1") == old
    assert kernels.cached("6.1", "6.1.8-1") is None
    with pytest.raises(ImageError, match=r"doesn't have the version 6\.1\.8-1, but 6\.1\.9-1, 6\.1\.10-1"):
        kernels.fetch("6.1", "6.1.8-1", of(archive))


def test_split_packages(archive: fake_kernels.Archive) -> None:
    archive.add_split_kernel("7.2.9+deb14", "7.2.9-1")
    archive.add_split_kernel("7.2.13+deb14", "7.2.13-1")
    kernel = kernels.fetch("7.2", archive=of(archive))
    assert kernel.version == "7.2.13-1"
    assert len(json.loads((kernel.image.parent / store.FACTS).read_text())["packages"]) == 4
    assert kernel.config


def test_changed_package_is_refused(archive: fake_kernels.Archive) -> None:
    deb = archive.add_kernel("6.1.0-9", "6.1.9-1")
    data = deb.read_bytes()
    deb.write_bytes(data.replace(b"CONFIG_KVM=m", b"CONFIG_KVM=y"))
    with pytest.raises(ImageError, match="(?i)hash sum mismatch"):
        kernels.fetch("6.1", archive=of(archive))
    assert left("6.1") == set()
    deb.write_bytes(data)
    assert kernels.fetch("6.1", archive=of(archive)).version == "6.1.9-1"


def test_package_that_changed_behind_apt_is_refused(
    archive: fake_kernels.Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add_kernel("6.1.0-9", "6.1.9-1")
    run = apt.Apt.run

    def careless(self: apt.Apt, program: str, *args: str, folder: Path | None = None) -> None:
        run(self, program, *args, folder=folder)
        for deb in (folder or self.folder).glob("*.deb"):
            deb.write_bytes(deb.read_bytes() + b"x")

    monkeypatch.setattr(apt.Apt, "run", careless)
    with pytest.raises(ImageError, match="SHA256 differs"):
        kernels.fetch("6.1", archive=of(archive))
    assert left("6.1") == set()


@pytest.mark.parametrize("damage", ["vmlinuz", "kvm.ko", "kernel.json"])
def test_damaged_is_fetched_again(archive: fake_kernels.Archive, damage: str) -> None:
    archive.add_kernel("6.1.0-9", "6.1.9-1")
    kernel = kernels.fetch("6.1", archive=of(archive))
    digest = kernel.digest()
    path = kernel.image.parent / damage
    path.write_bytes(path.read_bytes()[:-3])
    assert kernels.cached("6.1") is None
    assert kernels.fetch("6.1", archive=of(archive)).digest() == digest
    assert kernels.cached("6.1") is not None
    assert left("6.1") == {"6.1.9-1"}


def test_interrupted(archive: fake_kernels.Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.add_kernel("6.1.0-9", "6.1.9-1")
    unpack = debs.unpack

    def interrupted(packages: Sequence[Path], release: str, folder: Path) -> None:
        unpack(packages, release, folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(debs, "unpack", interrupted)
    with pytest.raises(KeyboardInterrupt):
        kernels.fetch("6.1", archive=of(archive))
    assert left("6.1") == set()
    assert kernels.cached("6.1") is None


FETCH = """
import os, sys
from images.kvm import debs, kernels, store
if sys.argv[2] == "killed":
    whole = debs.unpack
    def unpack(*args):
        whole(*args)
        os.kill(os.getpid(), 9)
    debs.unpack = unpack
try:
    print(kernels.fetch("6.1", archive=kernels.Archive(sources=[sys.argv[1]])).version)
except kernels.ImageError as e:
    sys.exit(f"refused: {e}")
"""


def fetch_elsewhere(archive: fake_kernels.Archive, how: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", FETCH, archive.source, how]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_killed(archive: fake_kernels.Archive) -> None:
    deb = archive.add_kernel("6.1.0-9", "6.1.9-1")
    assert fetch_elsewhere(archive, "killed").returncode == -signal.SIGKILL
    assert kernels.cached("6.1") is None
    downloads = list((store.top() / "6.1" / ".apt" / "packages").iterdir())
    assert len(downloads) == 1
    assert left("6.1") != set()
    deb.unlink()  # it isn't downloaded twice
    assert kernels.fetch("6.1", archive=of(archive)).version == "6.1.9-1"
    assert left("6.1") == {"6.1.9-1"}


# In a mount namespace of its own: a disk of $1 bytes at $2, and on it a cache, for the command that follows.
ON_A_SMALL_DISK = """
mount -t tmpfs -o size=$1 none "$2" || exit 77
shift
export XDG_CACHE_HOME="$1"
shift
"$@"
code=$?
find "$XDG_CACHE_HOME/lhv/kernels/6.1" -mindepth 1 -maxdepth 1 ! -name .apt ! -name .lock
exit $code
"""


@pytest.mark.parametrize("task", ["fetch", "add"])
def test_full_disk(archive: fake_kernels.Archive, tmp_path: Path, task: str) -> None:
    deb = archive.add_kernel("6.1.0-9", "6.1.9-1", size=9_000_000)
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["-c", FETCH, archive.source, ""] if task == "fetch" else ["images/kvm/kernels.py", "add", str(deb)]
    small = ["unshare", "-rm", "sh", "-c", ON_A_SMALL_DISK, "sh", "8m", str(disk), sys.executable]
    done = subprocess.run([*small, *command], cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip("this machine doesn't let its users mount")
    assert done.returncode == (1 if task == "fetch" else 3)
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_parallel_workers_fetch_once(archive: fake_kernels.Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.add_kernel("6.1.0-9", "6.1.9-1")
    workers = 3
    everybody = threading.Barrier(workers)
    locked, update = store.locked, apt.Apt.update
    updates, got = [], []

    def together(line: str) -> AbstractContextManager[None]:
        everybody.wait(60)
        return locked(line)

    def counted(self: apt.Apt) -> None:
        updates.append(self.folder)
        update(self)

    monkeypatch.setattr(store, "locked", together)
    monkeypatch.setattr(apt.Apt, "update", counted)
    threads = [
        threading.Thread(target=lambda: got.append(kernels.fetch("6.1", archive=of(archive)))) for _ in range(workers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [kernel.version for kernel in got] == ["6.1.9-1"] * workers
    assert len(updates) == 1


def test_without_archive(archive: fake_kernels.Archive) -> None:
    (archive.folder / "Packages").unlink()
    with pytest.raises(ImageError) as e:
        kernels.fetch("6.1", archive=of(archive))
    text = str(e.value)
    assert "linux-image-6.1.0-*-cloud-amd64 for amd64 from Debian's suite bookworm or bookworm-security" in text
    assert "kernels.py add FILE.deb" in text
    assert "\n" not in text


def test_unreachable_archive_is_not_passed_over(
    archive: fake_kernels.Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is newest isn't known then."""
    archive.add_kernel("6.1.0-9", "6.1.9-1")
    config = tmp_path / "apt.conf"
    config.write_text('Acquire::Retries "0";\n')
    monkeypatch.setenv("APT_CONFIG", str(config))
    unreachable = "deb [trusted=yes arch=amd64] http://127.0.0.1:1/ ./"
    with pytest.raises(ImageError, match="127.0.0.1"):
        kernels.fetch("6.1", archive=kernels.Archive(sources=[archive.source, unreachable]))


def test_archive_without_the_line(archive: fake_kernels.Archive) -> None:
    archive.add_kernel("6.1.0-9", "6.1.9-1")
    with pytest.raises(ImageError, match=r"the archive has no linux-image-5\.10\.0-\*-cloud-amd64.*bullseye-security"):
        kernels.fetch("5.10", archive=of(archive))


def test_add(archive: fake_kernels.Archive, capsys: pytest.CaptureFixture[str]) -> None:
    whole = archive.add_kernel("6.1.0-9", "6.1.9-1")
    parts = archive.add_split_kernel("7.2.13+deb14", "7.2.13-1")
    assert kernels.main(["add", str(parts[0]), str(parts[1])]) == 3
    assert "linux-binary-7.2.13+deb14-cloud-amd64, linux-modules-7.2.13+deb14-cloud-amd64" in capsys.readouterr().err
    assert kernels.main(["add", *map(str, parts), str(whole)]) == 0
    for line, version in (("6.1", "6.1.9-1"), ("7.2", "7.2.13-1")):
        kernel = kernels.cached(line)
        assert kernel and kernel.version == version
    assert kernels.main(["list"]) == 0
    assert capsys.readouterr().out.endswith("5.10 -\n6.1 6.1.9-1\n6.12 -\n7.2 7.2.13-1\n")


def test_add_refuses(archive: fake_kernels.Archive, tmp_path: Path) -> None:
    other = archive.add("bash", "5-1", {})
    with pytest.raises(ImageError, match="none of these packages is a kernel"):
        kernels.add([other])
    empty = archive.add("linux-image-6.1.0-9-cloud-amd64", "6.1.9-1", {})
    with pytest.raises(ImageError, match="no vmlinuz"):
        kernels.add([empty])
    broken = tmp_path / "broken.deb"
    broken.write_bytes(b"no package")
    with pytest.raises(ImageError, match="dpkg-deb failed"):
        kernels.add([broken])
    cut = archive.add_kernel("6.1.0-9", "6.1.9-2", size=100_000)
    cut.write_bytes(cut.read_bytes()[:50_000])
    with pytest.raises(ImageError, match="can't be unpacked"):
        kernels.add([cut])


def test_dpkg_fails_at_the_end(archive: fake_kernels.Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All came out, but dpkg-deb isn't content, maybe with a checksum."""
    deb = archive.add_kernel("6.1.0-9", "6.1.9-1")
    program = tmp_path / "bin" / "dpkg-deb"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\n/usr/bin/dpkg-deb "$@" || exit\n[ "$1" != --fsys-tarfile ] || { echo bad sum >&2; exit 2; }\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with pytest.raises(ImageError, match="can't be unpacked: bad sum"):
        kernels.add([deb])
    assert left("6.1") == set()


def test_package_with_modules_of_another_kernel(archive: fake_kernels.Archive) -> None:
    release = "6.1.0-9-cloud-amd64"
    files = {f"boot/vmlinuz-{release}": fake_kernels.bzimage(release)}
    for name, data in fake_kernels.modules("6.1.0-8-cloud-amd64").items():
        files[f"lib/modules/{release}/kernel/{name}"] = data
    archive.add(f"linux-image-{release}", "6.1.9-1", files)
    with pytest.raises(ImageError, match=r"no module kvm for the kernel 6\.1\.0-9-cloud-amd64"):
        kernels.fetch("6.1", archive=of(archive))
    assert left("6.1") == set()


@pytest.mark.parametrize("arguments", [["fetch", "6.2"], ["fetch", "=6.1.9-1"], ["versions", "6.2"], ["fetch"], []])
def test_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as e:
        kernels.main(arguments)
    assert e.value.code == 2


def test_unknown_line() -> None:
    with pytest.raises(ImageError, match=r"'6\.2' is no line of kernels: 5\.10, 6\.1"):
        kernels.cached("6.2")


def test_unwritable_cache(archive: fake_kernels.Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ImageError, match="Not a directory"):
        kernels.fetch("6.1", archive=of(archive))
    assert os.listdir(archive.folder)


def test_mirrors(monkeypatch: pytest.MonkeyPatch) -> None:
    def configure(*rows: tuple[str, str]) -> None:
        monkeypatch.setattr(apt, "configured", lambda: iter(rows))

    main, security = "http://mirror.example/debian/", "http://mirror.example/sec"
    configure(("http://x.example/tools", "stable-tools"), (security, "bookworm-security"), (main, "bookworm"))
    assert apt.debian_mirror() == main
    assert apt.security_mirror(main) == security
    known = debs.lines()["6.1"]
    assert [line.split("] ")[1] for line in debs.sources(known, "", "")] == [
        f"{main} bookworm main", f"{security} bookworm-security main"
    ]  # fmt: skip
    configure()
    assert apt.security_mirror(main) == "http://mirror.example/debian-security"
    with pytest.raises(ImageError, match="--security-mirror"):
        apt.security_mirror("http://mirror.example/other")
    with pytest.raises(ImageError, match="--mirror"):
        apt.debian_mirror()
    assert all("signed-by=/usr/share/keyrings/debian" in line for line in debs.sources(known, main, security))
