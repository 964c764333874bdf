#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Linux kernels with KVM for the appliance: Debian's, kept in the user's cache folder, or somebody's own build.

Exit codes: 0 done, 2 wrong usage, 3 a kernel can't be had.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from images import apt
from images.common import ImageError, program, read_file
from images.kvm import bzimage, debs, modules, store
from images.kvm.modules import module_bytes
from images.kvm.store import Kernel

__all__ = ["Archive", "Kernel", "add", "cached", "fetch", "from_build", "lines", "module_bytes", "versions"]


class Archive:
    """Where Debian's packages come from: mirrors, by default those of this machine's apt."""

    def __init__(self, mirror: str = "", security_mirror: str = "", sources: Sequence[str] = ()) -> None:
        self.mirror = mirror
        self.security_mirror = security_mirror
        self.sources = sources  # instead of all: lines of a sources.list

    @contextmanager
    def lists(self, line: debs.Line) -> Iterator[apt.Apt]:
        """Up to date. They stay, so that next time only what has changed is fetched. The caller has the line's lock."""
        folder = store.top() / line.name / ".apt"
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "log"
        log.unlink(missing_ok=True)
        sources = self.sources or debs.sources(line, self.mirror, self.security_mirror)
        lists = apt.Apt(folder, sources, log)
        try:
            lists.update()
            yield lists
        finally:
            # apt's own cache is as large as the lists, and quickly made.
            shutil.rmtree(folder / "cache", ignore_errors=True)


MACHINES = Archive()


def lines() -> list[str]:
    return list(debs.lines())


def line_of(name: str) -> debs.Line:
    try:
        return debs.lines()[name]
    except KeyError:
        raise ImageError(f"{name!r} is no line of kernels: {', '.join(lines())}") from None


def cached(line: str, version: str = "") -> Kernel | None:
    """The newest kernel of this line that is here and whole, or this version of it. Asks nobody."""
    line_of(line)
    for known in reversed(store.versions(line)):
        if version in ("", known):
            kernel = store.load(line, known)
            if kernel is not None:
                return kernel
    return None


def fetch(line: str, version: str = "", archive: Archive = MACHINES) -> Kernel:
    """The newest kernel of this line that Debian's archive offers, or this version of it."""
    known = line_of(line)
    kernel = cached(line, version) if version else None
    if kernel is not None:
        return kernel
    with _guarded(known):
        before = store.versions(line)
        with store.locked(line):
            # Whoever had the lock before may have fetched it.
            kernel = cached(line, version) if store.versions(line) != before or version else None
            if kernel is not None:
                return kernel
            with archive.lists(known) as lists:
                offers = debs.offers(lists, known)
                offer = _offered(offers, version)
                return store.load(line, offer.version) or _download(lists, known, offer)


def _offered(offers: dict[str, debs.Offer], version: str) -> debs.Offer:
    if not version:
        return list(offers.values())[-1]
    if version not in offers:
        raise ImageError(f"the archive doesn't have the version {version}, but {', '.join(offers)}")
    return offers[version]


def _download(lists: apt.Apt, line: debs.Line, offer: debs.Offer) -> Kernel:
    folder = lists.folder / "packages"
    packages = debs.download(lists, offer, folder)
    kernel = store.put(line.name, offer.version, offer.release, packages)
    shutil.rmtree(folder, ignore_errors=True)
    return kernel


def versions(line: str, archive: Archive = MACHINES) -> list[str]:
    """All that Debian's archive offers, oldest first."""
    known = line_of(line)
    with _guarded(known), store.locked(line), archive.lists(known) as lists:
        return list(debs.offers(lists, known))


@contextmanager
def _guarded(line: debs.Line) -> Iterator[None]:
    """Failures with what somebody can do who has the packages from elsewhere."""
    try:
        yield
    except (ImageError, OSError) as e:
        text = f"{e.filename or store.top()}: {e.strerror}" if isinstance(e, OSError) else str(e)
        raise ImageError(
            f"Linux {line.name} can't be fetched: {text}; "
            f"by hand: download {line.where()}, then `python3 images/kvm/kernels.py add FILE.deb...`"
        ) from e


def add(files: Sequence[Path]) -> list[Kernel]:
    """Puts kernels from packages that somebody has into the cache."""
    known = {path: debs.described(path) for path in files}
    by_name = {(offer.package, offer.version): path for path, offer in known.items()}
    lines = debs.lines().values()
    images = [(line, path, offer) for path, offer in known.items() for line in lines if line.has(offer.package)]
    if not images:
        wanted = ", ".join(line.pattern for line in lines)
        raise ImageError(f"none of these packages is a kernel of ours: {wanted}")
    out = []
    for line, path, offer in images:
        missing = [name for name in offer.parts() if (name, offer.version) not in by_name]
        if missing:
            raise ImageError(f"{path} is only a part: {', '.join(missing)} of version {offer.version} belong to it")
        packages = [path, *(by_name[name, offer.version] for name in offer.parts())]
        try:
            with store.locked(line.name):
                out.append(store.put(line.name, offer.version, offer.release, packages))
        except OSError as e:
            raise ImageError(f"{e.filename or store.top()}: {e.strerror}") from e
    return out


def from_build(image: Path, modules_dir: Path) -> Kernel:
    """Somebody's own build: its bzImage, and the folder that has the modules somewhere in it."""
    release = bzimage.release(read_file(image), str(image))
    if not modules_dir.is_dir():
        raise ImageError(f"{modules_dir} is no folder with kernel modules")
    found: dict[str, list[Path]] = {}
    for folder, _, files in os.walk(modules_dir):
        for file in files:
            name = modules.plain_name(file)
            if name in modules.NAMES:
                found.setdefault(name, []).append(Path(folder, file))
    for paths in found.values():
        paths.sort()
    config = modules_dir / ".config"
    chosen = modules.select(found, release, str(modules_dir))
    return Kernel("", release, image, chosen, config if config.is_file() else None)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="kernels.py", description=(__doc__ or "").splitlines()[0])
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    tasks.add_parser("list", help="the lines, and which versions are here")
    add_task = tasks.add_parser("add", help="take kernels from packages that you have")
    add_task.add_argument("files", nargs="+", type=Path, metavar="FILE.deb", help="all that belong to a kernel at once")
    for task, text in {
        "fetch": "bring the newest kernel of each line, or a certain version",
        "newest": "the newest version that Debian's archive offers",
        "versions": "all versions that Debian's archive offers, oldest first",
    }.items():
        sub = tasks.add_parser(task, help=text, description=text)
        sub.add_argument("--mirror", default="", help="a Debian mirror (default: the one that apt is configured for)")
        sub.add_argument("--security-mirror", default="", help="the same of the security archive")
        if task == "fetch":
            sub.add_argument("wanted", nargs="+", metavar="LINE[=VERSION]", help=f"one of {', '.join(lines())}")
        else:
            sub.add_argument("line", metavar="LINE", choices=lines(), help=f"one of {', '.join(lines())}")
    arguments = parser.parse_args(argv)
    for wanted in getattr(arguments, "wanted", []):
        if wanted.partition("=")[0] not in lines():
            parser.error(f"{wanted!r} is no line of kernels: {', '.join(lines())}")
    return arguments


def run(a: argparse.Namespace) -> None:
    if a.task == "list":
        for line in lines():
            print(line, " ".join(store.versions(line)) or "-")
    elif a.task == "add":
        for kernel in add(a.files):
            print(kernel.line, kernel.version, kernel.image.parent)
    else:
        archive = Archive(a.mirror, a.security_mirror)
        if a.task == "fetch":
            for wanted in a.wanted:
                line, _, version = wanted.partition("=")
                kernel = fetch(line, version, archive)
                print(kernel.line, kernel.version, kernel.image.parent, flush=True)
        else:
            offered = versions(a.line, archive)
            print("\n".join(offered if a.task == "versions" else offered[-1:]))


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    return program("kernels", lambda: run(arguments), "nothing half-made is left")


if __name__ == "__main__":
    sys.exit(main())
