# SPDX-License-Identifier: BSD-2-Clause
"""Saved states of the appliance, right before it asks for a job, in the user's cache folder (docs/kvm.md, "Snapshots").

A state is found by a hash over everything that it depends on, so that a stale one is never used; a damaged one is made
again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from images import bochsrc
from images.common import ImageError, cache_folder, digest, find_tool, read_file, run_tool
from images.kvm import checkpoint, disk, job, machine

FORMAT = "1"  # of what is stored; part of the hash
STATE = "state"  # the folder that Bochs saves to and restores from
KEPT = 12  # states; the oldest go
BOOT_SECONDS = 600  # of the clock: a minute is usual, more with Bochs 2.7 and QEMU
_SAVED_MIN = 1000  # bytes of a configuration that was written to its end

Say = Callable[[str], object]


@dataclass(frozen=True)
class Recipe:
    """All that a state depends on."""

    host: machine.Host
    title: str  # for people
    bzimage: bytes
    initramfs: bytes
    memory_mb: int

    def key(self) -> str:
        h = hashlib.sha256()
        texts = [FORMAT, self.host.configuration(self.memory_mb), machine.CMDLINE, str(machine.DISK)]
        firmware = [bochsrc.BIOS, bochsrc.VGA_BIOS, Path(self.host.path), machine.MSRS_SOURCE]
        for part in [*(t.encode() for t in texts), self.bzimage, self.initramfs, *(read_file(p) for p in firmware)]:
            h.update(hashlib.sha256(part).digest())
        return h.hexdigest()[:32]


def folder() -> Path:
    return cache_folder() / "snapshots"


@dataclass(frozen=True)
class Snapshot:
    archive: Path

    def unpack(self, into: Path, work: bytes) -> None:
        """Puts the state and the job into an empty folder, where `command` is to be run then."""
        unpack(self.archive, into)
        machine.write_common(into)
        # Bochs copies the disks' images out of the state over those that it was started with.
        (into / machine.JOB).write_bytes(work)
        (into / STATE / "hard_drive.0.drive1.image").write_bytes(work)
        with open(into / machine.DISK, "wb") as f:
            f.truncate((into / STATE / "hard_drive.0.drive0.image").stat().st_size)


def command(host: machine.Host, into: Path) -> list[str]:
    args = [host.path, "-q", "-r", STATE]
    if host.debugger:
        (into / "commands").write_text("continue\nquit\n")
        args += ["-rc", "commands"]
    return args


def get(recipe: Recipe, say: Say) -> Snapshot:
    """The state, made if there is none that can be used. Raises ImageError."""
    top = folder()
    key = recipe.key()
    archive, facts = top / f"{key}.tar.zst", top / f"{key}.json"
    try:
        top.mkdir(parents=True, exist_ok=True)
        with _locked(top / f"{key}.lock"):
            trouble = _check(archive, facts)
            if trouble:
                if archive.exists():
                    say(f"{recipe.title}: {trouble}; it is made again")
                else:
                    say(f"{recipe.title}: booting it once, to save its state")
                _make(recipe, top, archive, facts)
                _prune(top, key)
            else:
                os.utime(archive)
    except OSError as e:
        raise ImageError(f"{e.filename or top}: {e.strerror}") from e
    return Snapshot(archive)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check(archive: Path, facts: Path) -> str:
    """Why the stored state can't be used; empty if it can."""
    if not (archive.is_file() and facts.is_file()):
        return "there is no saved state"
    try:
        known = json.loads(facts.read_text())["sha256"]
        return "" if digest(archive) == known else f"{archive} is damaged"
    except (OSError, ValueError, KeyError, TypeError):
        return f"{facts} is damaged"


def _make(recipe: Recipe, top: Path, archive: Path, facts: Path) -> None:
    """Nothing is left of an attempt that fails."""
    for path in (facts, archive):
        path.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="new-", dir=top) as scratch:
        work = Path(scratch, "work")
        (work / STATE).mkdir(parents=True)
        _boot(recipe, work)
        _check_saved(recipe, work / STATE)
        # Nobody reads the boot disk again; its size is part of the state.
        image = work / STATE / "hard_drive.0.drive0.image"
        size = image.stat().st_size
        image.write_bytes(b"")
        os.truncate(image, size)
        packed = Path(scratch, "packed")
        pack(work / STATE, packed)
        data = {"title": recipe.title, "sha256": digest(packed), "format": FORMAT}
        os.replace(packed, archive)
        text = Path(scratch, "facts")
        text.write_text(json.dumps(data, indent=1) + "\n")
        os.replace(text, facts)


def _boot(recipe: Recipe, work: Path) -> None:
    host = recipe.host
    machine.write_common(work)
    (work / machine.DISK).write_bytes(disk.boot_disk(recipe.bzimage, recipe.initramfs, machine.CMDLINE))
    with open(work / machine.JOB, "wb") as f:
        f.truncate(job.DISK_BYTES)
    rc = work / machine.RC
    rc.write_text(host.configuration(recipe.memory_mb))
    # At the next prompt it asks for a command, and gets it from checkpoint.c.
    argv = bochsrc.command(host.path, host.number, rc, host.debugger, "continue\n")
    output = work / "output"
    with open(output, "wb") as out:
        child = subprocess.Popen(
            argv, cwd=work, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, **checkpoint.environment(host.debugger, work, work / STATE)},
        )  # fmt: skip
        deadline = time.monotonic() + BOOT_SECONDS
        try:
            while child.poll() is None and time.monotonic() < deadline and not _panicked(work / machine.COM1):
                time.sleep(0.1)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    text = output.read_text(errors="replace")
    if "checkpoint saved" not in text:
        raise ImageError(f"{recipe.title} didn't come to its checkpoint: {_last_words(text, work / machine.COM1)}")


def _panicked(com1: Path) -> bool:
    """Linux stays where it is then."""
    return com1.exists() and b"end Kernel panic" in com1.read_bytes()


def _last_words(text: str, com1: Path) -> str:
    """What the appliance says of its failure, else the kernel, else Bochs."""
    said = [line for line in text.splitlines() if line.startswith("kvm: fail ")]
    if said:
        return said[-1].removeprefix("kvm: fail ")
    console = com1.read_text(errors="replace").splitlines() if com1.exists() else []
    panic = [line for line in console if "Kernel panic" in line]
    lines = [line.strip() for line in console or text.splitlines() if line.strip(" =\t")]
    return panic[0] if panic else (lines or ["no message"])[-1]


def _check_saved(recipe: Recipe, state: Path) -> None:
    """Bochs doesn't notice that it couldn't write."""
    wanted = {"memory.ram": recipe.memory_mb << 20, "config": _SAVED_MIN, "cpu0": _SAVED_MIN, "virt_timer": 1}
    for name, size in wanted.items():
        path = state / name
        have = path.stat().st_size if path.is_file() else 0
        if have < size:
            free = shutil.disk_usage(state).free >> 20
            raise ImageError(f"Bochs saved {have} bytes as {name} instead of {size} ({free} MiB are free on the disk)")


def pack(source: Path, archive: Path) -> None:
    find_tool("zstd")
    run_tool(["tar", "-C", str(source), "-S", "-I", "zstd -3 -T0 -q", "-cf", str(archive), "."])


def unpack(archive: Path, into: Path) -> None:
    (into / STATE).mkdir()
    find_tool("zstd")
    run_tool(["tar", "-C", str(into / STATE), "-I", "zstd -q", "-xf", str(archive)])


def _prune(top: Path, keep: str) -> None:
    states = sorted(top.glob("*.tar.zst"), key=lambda p: p.stat().st_mtime, reverse=True)
    for path in states[KEPT:]:
        key = path.name.removesuffix(".tar.zst")
        if key != keep:
            for old in (path, top / f"{key}.json", top / f"{key}.lock"):
                old.unlink(missing_ok=True)
