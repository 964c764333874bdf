# SPDX-License-Identifier: BSD-2-Clause
"""What the image recipes share: one exception, external programs, files written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

TOOL_TIMEOUT = 120  # seconds; each tool needs well under one

# Which Debian package brings a program, for messages.
PACKAGES = {
    "grub-mkimage": "grub-common",
    "grub-mkrescue": "grub-common",
    "xorriso": "xorriso",
    "mformat": "mtools",
    "mcopy": "mtools",
    "mmd": "mtools",
    "nasm": "nasm",
    "xz": "xz-utils",
    "dpkg-deb": "dpkg",
    "ldd": "libc-bin",
    "strip": "binutils",
    "qemu-system-x86_64": "qemu-system-x86",
    "bochs": "bochs",
}


class ImageError(Exception):
    """The environment or the input doesn't allow the image; the text is for the user."""


def program(name: str, work: Callable[[], None], interrupted: str = "") -> int:
    """Does a program's work and returns its exit code: 0, or 3 or 130 (interrupted) behind a line on stderr that says why.

    SIGTERM interrupts too, since what the program has started is in process groups of its own and has to be told.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        work()
    except ImageError as e:
        print(f"{name}: {e}", file=sys.stderr)
        return 3
    except OSError as e:
        print(f"{name}: {e.filename or ''}: {e.strerror}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print(f"{name}: interrupted{interrupted and '; '}{interrupted}", file=sys.stderr)
        return 130
    return 0


def find_tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        package = PACKAGES.get(name, name)
        raise ImageError(f"{name} is not installed (Debian package {package}: apt-get install {package})")
    return path


def run_tool(args: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: bytes = b"") -> bytes:
    """Run a program to its end and return its standard output; anything else is an ImageError."""
    command = [find_tool(args[0]), *args[1:]]
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            timeout=TOOL_TIMEOUT,
            env={**os.environ, "LC_ALL": "C", **(env or {})},
        )
    except subprocess.TimeoutExpired as e:
        raise ImageError(f"{args[0]} did not end within {TOOL_TIMEOUT} s") from e
    except OSError as e:
        raise ImageError(f"{args[0]}: {e}") from e
    if done.returncode != 0:
        text = done.stderr.decode(errors="replace").strip() or "no message"
        raise ImageError(f"{args[0]} failed with status {done.returncode}: {text}")
    return done.stdout


def read_file(path: str | Path, *, package: str = "") -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as e:
        hint = f" (Debian package {package}: apt-get install {package})" if package else ""
        raise ImageError(f"{path}: {e.strerror}{hint}") from e


def digest(path: Path) -> str:
    try:
        with open(path, "rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()
    except OSError as e:
        raise ImageError(f"{path}: {e.strerror}") from e


def cache_folder() -> Path:
    """Where this project keeps what it would be long to make or fetch again."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    base = Path(cache) if os.path.isabs(cache) else Path.home() / ".cache"
    return base / "lhv"


def write_file(path: str | Path, data: bytes, mode: int = 0o666) -> None:
    """Write all of the file or none: a reader never sees half an image, a full disk leaves the old one."""
    path = Path(path)
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(fd, "wb") as f:
            f.write(data)
            f.flush()
            os.fchmod(f.fileno(), mode & ~current_umask())
        os.replace(temporary, path)
        temporary = ""
    except OSError as e:
        raise ImageError(f"{path}: {e.strerror}") from e
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def current_umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
