# SPDX-License-Identifier: BSD-2-Clause
"""Debian's packages of kernels: which the archive offers, getting them, and the few files of them that are needed."""

from __future__ import annotations

import fnmatch
import functools
import re
import shutil
import subprocess
import tarfile
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from images import apt
from images.common import ImageError, digest, find_tool, read_file, run_tool, write_file
from images.kvm import modules

LINES_FILE = Path(__file__).resolve().parent / "kernels.toml"
IMAGE = "linux-image-"
# The parts that a kernel's package may be split into. All have the same version, and the same end of the name.
PARTS = re.compile(r"linux-(?:image|binary|modules|base)-(.+)")
DEPENDENCY = re.compile(r"([a-z0-9][a-z0-9+.-]+) \(= ([^)]+)\)")


@dataclass(frozen=True)
class Line:
    name: str
    pattern: str
    suites: tuple[tuple[str, str], ...]  # archive (main or security), suite

    def has(self, package: str) -> bool:
        """Whether it is one of the line's kernels."""
        return fnmatch.fnmatchcase(package, self.pattern)

    def where(self) -> str:
        names = " or ".join(suite for _, suite in self.suites)
        parts = 'what it depends on by "linux-... (= VERSION)"'
        return f"{self.pattern} for amd64 from Debian's suite {names}, and {parts}"


@dataclass(frozen=True)
class Offer:
    package: str
    version: str
    depends: str
    sha256: str
    size: int  # bytes

    def parts(self) -> list[str]:
        """The packages that this one is split into: they come from the same source, so they have its version."""
        named = DEPENDENCY.findall(self.depends)
        return [name for name, version in named if PARTS.fullmatch(name) and version == self.version]

    @property
    def release(self) -> str:
        return self.package.removeprefix(IMAGE)


@functools.lru_cache(maxsize=1)
def lines() -> dict[str, Line]:
    data = tomllib.loads(read_file(LINES_FILE).decode())
    return {
        name: Line(name, row["package"], tuple((s["archive"], s["suite"]) for s in row["suites"]))
        for name, row in data.items()
    }


def compare(a: str, b: str) -> int:
    """Of versions, as dpkg sees them."""
    if a == b:
        return 0
    program = find_tool("dpkg")
    return -1 if subprocess.run([program, "--compare-versions", a, "lt", b]).returncode == 0 else 1


def in_order(versions: Iterable[str]) -> list[str]:
    return sorted(set(versions), key=functools.cmp_to_key(compare))


def sources(line: Line, mirror: str, security_mirror: str) -> list[str]:
    """Lines for a sources.list; the mirrors are those of this machine if none are given."""
    main = mirror or apt.debian_mirror()
    out = []
    for archive, suite in line.suites:
        address = main if archive == "main" else security_mirror or apt.security_mirror(main)
        out.append(apt.source(address, suite))
    return out


def offers(lists: apt.Apt, line: Line) -> dict[str, Offer]:
    """The kernels of this line that the archive has, by version, oldest first."""
    names = [name for name in lists.ask("apt-cache", "pkgnames", IMAGE).split() if line.has(name)]
    if not names:
        raise ImageError(f"the archive has no {line.pattern}")
    shown = entries(lists.ask("apt-cache", "show", "--all-versions", *sorted(names)))
    found = {offer.version: offer for offer in shown}
    return {version: found[version] for version in in_order(found)}


def entries(text: str) -> list[Offer]:
    out = []
    for block in text.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", block, re.M))
        if "Package" in fields:
            package, version, depends, sha256 = (
                fields.get(name, "") for name in ("Package", "Version", "Depends", "SHA256")
            )
            out.append(Offer(package, version, depends, sha256, int(fields.get("Size", 0))))
    return out


def download(lists: apt.Apt, offer: Offer, folder: Path) -> list[Path]:
    """The kernel's packages in folder, where whole ones of an earlier attempt stay. apt checks them; so do we."""
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for name in [offer.package, *offer.parts()]:
        shown = entries(lists.ask("apt-cache", "show", f"{name}={offer.version}"))
        part = next((entry for entry in shown if entry.version == offer.version), None)
        if part is None:
            raise ImageError(f"the archive has no {name} {offer.version}, a part of {offer.package}")
        check_room(part, folder)
        lists.run("apt-get", "download", f"{name}={offer.version}", folder=folder)
        files = [path for path in folder.glob(f"{name}_*.deb") if digest(path) == part.sha256]
        if not files:
            raise ImageError(f"{name} {offer.version}: SHA256 differs from the one in Debian's list")
        out.append(files[0])
    return out


def check_room(part: Offer, folder: Path) -> None:
    """apt doesn't always say that it couldn't write."""
    free = shutil.disk_usage(folder).free
    # The package, and what is taken out of it.
    if free < 2 * part.size:
        raise ImageError(
            f"{folder}: No space left on device: {part.package} needs {2 * part.size >> 10} KiB, {free >> 10} are free"
        )


def described(deb: Path) -> Offer:
    """What a package's file says of itself."""
    names = ("Package", "Version", "Depends", "Architecture")
    text = run_tool(["dpkg-deb", "--showformat", "".join(f"${{{name}}}\\n" for name in names), "--show", str(deb)])
    package, version, depends, architecture = text.decode().splitlines()
    if architecture != "amd64":
        raise ImageError(f"{deb} is for {architecture}, not for amd64")
    return Offer(package, version, depends, digest(deb), deb.stat().st_size)


def unpack(debs: Sequence[Path], release: str, folder: Path) -> None:
    """Puts the kernel as `vmlinuz`, its modules and, if there, its `config` into folder."""
    for deb in debs:
        command = [find_tool("dpkg-deb"), "--fsys-tarfile", str(deb)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stderr is not None
            try:
                with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                    for member in tar:
                        name = wanted(member.name, release)
                        content = tar.extractfile(member) if name and member.isreg() else None
                        if content is not None:
                            write_file(folder / name, content.read())
                # What is behind the archive's end.
                process.stdout.read()
                said = process.stderr.read().decode(errors="replace").strip()
            except (tarfile.TarError, EOFError) as e:
                raise ImageError(f"{deb} can't be unpacked: {e}") from e
            finally:
                process.stdout.close()
        if process.returncode != 0:
            raise ImageError(f"{deb} can't be unpacked: {said}")


def wanted(path: str, release: str) -> str:
    """Under which name a package's file is kept; empty if it isn't."""
    name = Path(path).name
    tree = {f"./lib/modules/{release}/", f"./usr/lib/modules/{release}/"}
    for kept in ("vmlinuz", "config"):
        if path == f"./boot/{kept}-{release}" or path in {top + kept for top in tree}:
            return kept
    in_tree = any(path.startswith(f"{top}kernel/") for top in tree)
    return name if in_tree and modules.plain_name(name) in modules.NAMES else ""
