# SPDX-License-Identifier: BSD-2-Clause
"""Source trees of Debian's kernels, prepared for building KVM's modules, in the user's cache folder.

Only what such a build reads is unpacked: a tree has 200 MB instead of 1.5 GB. Kconfig's files are all there, lest the
configuration changes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from images.common import ImageError, cache_folder, find_tool, read_file, write_file
from images.kvm import debs, store
from images.kvm.kernels import MACHINES, Archive, line_of
from images.logged import Progress, logged_run

# Folders of which only Kconfig's files are needed.
_SKIPPED = re.compile(r"(Documentation|LICENSES|drivers|fs|net|samples|sound|tools/testing|arch/(?!x86/)[^/]+)/")
_READY = ".lhv-ready"  # written last; contains the release


def home(line: str, version: str) -> Path:
    return cache_folder() / "kernel-trees" / line / version


def ready(line: str, version: str) -> bool:
    return (home(line, version) / _READY).is_file()


def release_of(tree: Path) -> str:
    return read_file(tree / _READY).decode()


def prepared(line: str, version: str, jobs: int, archive: Archive = MACHINES, progress: Progress = None) -> Path:
    """The tree of this version, unpatched; made if it isn't there. Others of the line are removed: it's large."""
    tree = home(line, version)
    if ready(line, version):
        return tree
    known = line_of(line)
    with store.locked(line):
        if ready(line, version):
            return tree
        tree.parent.mkdir(parents=True, exist_ok=True)
        for old in tree.parent.iterdir():
            shutil.rmtree(old, ignore_errors=True)
        with (
            tempfile.TemporaryDirectory(prefix=".new-", dir=tree.parent) as scratch,
            archive.lists(known) as lists,
        ):
            offer = next((o for o in debs.offers(lists, known).values() if o.version == version), None)
            if offer is None:
                raise ImageError(f"the archive doesn't have Linux {line} in the version {version} any more")
            folder = Path(scratch)
            for name in (f"linux-source-{line}", f"linux-headers-{offer.release}"):
                lists.run("apt-get", "download", f"{name}={version}", folder=folder)
            source, headers = (_package(folder, kind) for kind in ("linux-source", "linux-headers"))
            new = folder / "tree"
            _unpack_source(source, new)
            _take_configuration(headers, new)
            _prepare(new, offer.release, jobs, progress)
            write_file(new / _READY, offer.release.encode())
            os.rename(new, tree)
    return tree


def _package(folder: Path, kind: str) -> Path:
    return next(folder.glob(f"{kind}-*.deb"))


@contextmanager
def _members(deb: Path) -> Iterator[tarfile.TarFile]:
    with subprocess.Popen([find_tool("dpkg-deb"), "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                yield tar
        except (tarfile.TarError, EOFError) as e:
            raise ImageError(f"{deb} can't be unpacked: {e}") from e
        finally:
            process.stdout.close()


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    if content is None:
        raise ImageError(f"{member.name} is no file")
    return content


def is_needed(name: str) -> bool:
    """Of a file's name in the tree."""
    return not _SKIPPED.match(name) or Path(name).name.startswith("Kconfig")


def _unpack_source(deb: Path, tree: Path) -> None:
    with _members(deb) as package:
        for member in package:
            if member.name.endswith(".tar.xz"):
                with tarfile.open(fileobj=_content(package, member), mode="r|xz") as source:
                    source.extractall(tree.parent, _inner(source))  # apt has checked where it comes from
                break
        else:
            raise ImageError(f"{deb} has no source")
    unpacked = next(path for path in tree.parent.glob("linux-source-*") if path.is_dir())
    os.rename(unpacked, tree)


def _inner(source: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in source:
        if is_needed(member.name.partition("/")[2]):
            yield member


def _take_configuration(deb: Path, tree: Path) -> None:
    """The configuration, and the versions of the symbols that the kernel offers to modules."""
    with _members(deb) as package:
        for member in package:
            name = Path(member.name).name
            if name in (".config", "Module.symvers"):
                write_file(tree / name, _content(package, member).read())
    symbols = read_file(tree / "Module.symvers").decode().splitlines(keepends=True)
    # KVM's own are made by the build.
    ours = [line for line in symbols if "\tarch/x86/kvm/" not in line]
    write_file(tree / "Module.symvers", "".join(ours).encode())


def _prepare(tree: Path, release: str, jobs: int, progress: Progress) -> None:
    before = _options(tree)
    run_make(tree, ["olddefconfig"], jobs, progress)
    run_make(tree, ["modules_prepare"], jobs, progress)
    changed = sorted({name for name, _ in before.items() ^ _options(tree).items()})
    write_file(tree / ".lhv-changed", "".join(f"{name}\n" for name in changed).encode())
    # As Debian calls it: the source only knows its number.
    write_file(tree / "include/config/kernel.release", f"{release}\n".encode())
    write_file(tree / "include/generated/utsrelease.h", f'#define UTS_RELEASE "{release}"\n'.encode())


def changed_options(tree: Path) -> list[str]:
    """Options of Debian's configuration that came out otherwise here: this machine has another compiler."""
    return read_file(tree / ".lhv-changed").decode().split()


def _options(tree: Path) -> dict[str, str]:
    lines = read_file(tree / ".config").decode().splitlines()
    pairs = (line.split("=", 1) for line in lines if line.startswith("CONFIG_") and "=" in line)
    # The compiler's name in words is no difference by itself.
    return {name: value for name, value in pairs if name != "CONFIG_CC_VERSION_TEXT"}


def run_make(tree: Path, words: list[str], jobs: int, progress: Progress) -> None:
    # A compiler that is asked for by the environment or by the make that runs us is for our own code.
    env = {"MAKEFLAGS": "", "MFLAGS": "", "MAKELEVEL": "", "CC": "", "CFLAGS": "", "ARCH": ""}
    clean = [f"--unset={name}" for name in env]
    logged_run(["env", *clean, "make", f"-j{jobs}", *words], tree.parent / "log", folder=tree, progress=progress)
