# SPDX-License-Identifier: BSD-2-Clause
"""Kernels in the user's cache folder: kernels/LINE/VERSION. A folder appears there whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from images.common import ImageError, cache_folder, digest, read_file, write_file
from images.kvm import bzimage, debs, modules

FACTS = "kernel.json"
_NEW = ".new-"  # what is being made, and what was when a machine went down


@dataclass(frozen=True)
class Kernel:
    line: str  # empty for somebody's own build
    version: str  # of Debian's package, 6.1.192-2; of an own build what `uname -r` says
    image: Path  # bzImage
    modules: Mapping[str, Path]  # irqbypass (unless it is built in), kvm, kvm-intel; maybe packed
    config: Path | None = None

    def __hash__(self) -> int:
        return hash((self.line, self.version, self.image))

    def digest(self) -> str:
        """Of all that the appliance's behaviour depends on."""
        h = hashlib.sha256()
        for name, path in [("vmlinuz", self.image), *sorted(self.modules.items())]:
            h.update(f"{name} {digest(path)}\n".encode())
        return h.hexdigest()


def top() -> Path:
    return cache_folder() / "kernels"


def versions(line: str) -> list[str]:
    """Oldest first; whether they are whole is seen when they are loaded."""
    try:
        names = [path.name for path in (top() / line).iterdir() if (path / FACTS).is_file()]
    except FileNotFoundError:
        return []
    except OSError as e:
        raise ImageError(f"{top() / line}: {e.strerror}") from e
    return debs.in_order(name for name in names if not name.startswith("."))


def load(line: str, version: str) -> Kernel | None:
    """None if it isn't there or is damaged."""
    folder = top() / line / version
    try:
        sums = json.loads(read_file(folder / FACTS))["files"]
        if any(digest(folder / name) != sha256 for name, sha256 in sums.items()):
            return None
    except (ImageError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return _of(line, version, folder)


def _of(line: str, version: str, folder: Path) -> Kernel:
    image = folder / "vmlinuz"
    if not image.is_file():
        raise ImageError(f"the packages of {line} {version} have no vmlinuz")
    release = bzimage.release(read_file(image), str(image))
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        found.setdefault(modules.plain_name(path.name), []).append(path)
    config = folder / "config"
    chosen = modules.select(found, release, f"{line} {version}")
    return Kernel(line, version, image, chosen, config if config.is_file() else None)


def put(line: str, version: str, release: str, packages: list[Path]) -> Kernel:
    """Unpack, check, and only then give it its name. The caller has the line's lock."""
    home = top() / line
    sweep(line)
    with tempfile.TemporaryDirectory(prefix=_NEW, dir=home) as scratch:
        new = Path(scratch, "kernel")
        new.mkdir()
        debs.unpack(packages, release, new)
        _of(line, version, new)
        facts = {
            "release": release,
            "files": {path.name: digest(path) for path in sorted(new.iterdir())},
            "packages": {path.name: digest(path) for path in packages},
        }
        write_file(new / FACTS, (json.dumps(facts, indent=1) + "\n").encode())
        if (home / version).exists():
            os.rename(home / version, Path(scratch, "old"))
        os.rename(new, home / version)
    return _of(line, version, home / version)


def sweep(line: str) -> None:
    for path in (top() / line).glob(f"{_NEW}*"):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def locked(line: str) -> Iterator[None]:
    """One at a time changes a line's folder; it ends with its process, however that ends."""
    home = top() / line
    home.mkdir(parents=True, exist_ok=True)
    with open(home / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
