#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Build Bochs 3.0 without its debugger from Debian's source package, into the user's cache folder.

It is several times faster than the package's build and is used by the harness once it is there. With --fixes it gets
our patches (images/bochs), for hosts that are Linux in Bochs: docs/kvm.md. Neither the download nor the build needs root. Interrupted, it goes on where it was. Exit codes: 0 done, 2 wrong usage, 3 it can't be built.
"""

from __future__ import annotations

import argparse
import datetime
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from images import apt
from images.bochsrc import detect
from images.common import ImageError, cache_folder, digest, program, read_file, write_file
from images.logged import Env, Progress, logged_run

VERSION = "3.0"
SUITE = "trixie"
PACKAGE_VERSION = re.compile(r"3\.0\+dfsg-")
# A second look besides apt's signed list, and the only one for --tarball.
SHA256 = "78f6c73d4a6472d5130a87ab9dc306d02c7c71ed8e25b3a8ef642e2a7acd282b"

CONFIGURE = (
    "--enable-all-optimizations",
    "--enable-cpu-level=6",
    "--enable-x86-64",
    "--enable-vmx=2",
    "--enable-svm",
    "--enable-avx",
    "--enable-evex",
    "--enable-smp",
    "--enable-cet",
    "--enable-protection-keys",
    "--enable-memtype",
    "--disable-docbook",
    "--with-nogui",
)
# No debug information: it makes up most of the compiler's output.
COMPILER_FLAGS = "-O2 -pipe"

BUILD_PACKAGES = ("g++", "make", "patch", "xz-utils")
# The source package has no firmware in it; Bochs runs with that of these packages.
FIRMWARE_PACKAGES = ("bochsbios", "vgabios")

PATCHES = Path(__file__).resolve().parent / "bochs"
# What the version of a build with our patches is called.
FIXES = "fixes"


def default_folder(fixes: bool = False) -> Path:
    """Where this program puts Bochs, and where the harness looks for it."""
    return cache_folder() / (f"bochs-{VERSION}+{FIXES}" if fixes else f"bochs-{VERSION}")


def patches() -> list[Path]:
    return sorted(PATCHES.glob("*.patch"))


def patches_digest() -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in patches())).hexdigest()


def say(text: str) -> None:
    print(f"bochs: {text}", flush=True)


class Build:
    """The steps. What an earlier run has done is not done again: stamps say so, and make knows its objects."""

    def __init__(self, folder: Path, *, jobs: int, mirror: str, tarball: Path | None, fixes: bool = False) -> None:
        self.folder = folder
        self.fixes = fixes
        self.patches = patches_digest() if fixes else ""
        self.work = folder / "work"
        self.source = self.work / f"bochs-{VERSION}"
        self.log = folder / "build.log"
        self.jobs = jobs
        self.mirror = mirror
        self.given = tarball
        self.archive = self.work / f"bochs_{VERSION}+dfsg.orig.tar.xz"

    @property
    def binary(self) -> Path:
        return self.folder / "bin" / "bochs"

    @property
    def facts(self) -> Path:
        return self.folder / "version.json"

    def is_done(self) -> bool:
        """Whether the installed program is the one that this recipe makes."""
        try:
            facts = json.loads(self.facts.read_text())
            recipe = (facts["configure"], facts["compiler_flags"], facts.get("patches", ""))
            wanted = (list(CONFIGURE), COMPILER_FLAGS, self.patches)
            return recipe == wanted and bool(facts["sha256"] == digest(self.binary))
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def run(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        with open(self.work / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("another build is running, waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            if self.is_done():
                return
            started = time.monotonic()
            self.fetch()
            self.unpack()
            self.configure()
            self.compile()
            self.install(time.monotonic() - started)

    def stamp(self, step: str) -> Path:
        return self.work / f"{step}.done"

    def stamped(self, step: str, value: str) -> bool:
        try:
            return self.stamp(step).read_text() == value
        except OSError:
            return False

    def fetch(self) -> None:
        if self.given is not None:
            if digest(self.given) != SHA256:
                raise ImageError(f"{self.given} is not Debian's bochs_{VERSION}+dfsg.orig.tar.xz (SHA256 differs)")
            write_file(self.archive, read_file(self.given))
        other = default_folder(not self.fixes) / "work" / self.archive.name
        if not self.archive.is_file() and other.is_file():
            write_file(self.archive, read_file(other))
        if self.archive.is_file() and digest(self.archive) == SHA256:
            say(f"source is here: {self.archive.name}")
            return
        say(f"fetching Debian's source package (suite {SUITE})")
        fetch_source(self.archive, self.work / "apt", self.mirror or debian_mirror(), self.log)

    def unpack(self) -> None:
        value = f"{SHA256} {self.patches}"
        if self.stamped("unpack", value):
            return
        say("unpacking")
        shutil.rmtree(self.source, ignore_errors=True)
        self.stamp("configure").unlink(missing_ok=True)
        self.step(["tar", "--no-same-owner", "-xJf", str(self.archive), "-C", str(self.work)], self.work)
        for path in patches() if self.fixes else []:
            self.step(["patch", "-p1", "--no-backup-if-mismatch", "--forward", "-i", str(path)], self.source)
        write_file(self.stamp("unpack"), value.encode())

    def configure(self) -> None:
        value = " ".join([*CONFIGURE, COMPILER_FLAGS])
        if self.stamped("configure", value):
            say("going on with the objects of an earlier build")
            return
        say("configuring")
        if (self.source / "Makefile").exists():
            self.step(["make", "clean"], self.source)
        flags = {"CFLAGS": COMPILER_FLAGS, "CXXFLAGS": COMPILER_FLAGS}
        self.step(["./configure", f"--prefix={self.folder}", *CONFIGURE], self.source, flags)
        write_file(self.stamp("configure"), value.encode())

    def compile(self) -> None:
        total = len(list(self.source.rglob("*.cc")))
        say(f"compiling with {self.jobs} jobs, log in {self.log}")
        self.step(["make", f"-j{self.jobs}"], self.source, progress=lambda: self.say_progress(total))

    def say_progress(self, total: int) -> None:
        objects = sum(1 for _ in self.source.rglob("*.o"))
        # Not all sources belong to this configuration, so this is no percentage.
        say(f"  {objects} objects (of {total} sources at most)")

    def install(self, seconds: float) -> None:
        program = self.work / "bochs"
        self.step(["strip", "-o", str(program), str(self.source / "bochs")], self.work)
        version, debugger = detect(program)
        if version != tuple(int(part) for part in VERSION.split(".")) or debugger:
            raise ImageError(f"{program} says version {version}, debugger {debugger}: not what was to be built")
        write_file(self.binary, read_file(program), 0o777)
        program.unlink(missing_ok=True)
        facts = {
            "version": VERSION,
            "source": self.archive.name,
            "source_sha256": SHA256,
            "configure": list(CONFIGURE),
            "compiler_flags": COMPILER_FLAGS,
            "patches": self.patches,
            "sha256": digest(self.binary),
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "seconds": round(seconds),
        }
        write_file(self.facts, (json.dumps(facts, indent=2) + "\n").encode())

    def clean(self) -> None:
        shutil.rmtree(self.source, ignore_errors=True)
        shutil.rmtree(self.work / "apt", ignore_errors=True)
        for step in ("unpack", "configure"):
            self.stamp(step).unlink(missing_ok=True)

    def step(self, command: Sequence[str], folder: Path, env: Env = None, progress: Progress = None) -> None:
        logged_run(command, self.log, folder=folder, env=env, progress=progress)


def debian_mirror() -> str:
    try:
        return apt.debian_mirror()
    except ImageError as e:
        raise ImageError(f"{e}, or the source by --tarball") from e


def fetch_source(archive: Path, folder: Path, mirror: str, log: Path) -> None:
    """Get the upstream tarball by apt, with lists of our own: the system's are neither read nor changed.

    Only this file is taken: Debian's patches concern packaging, and a mirror may lack the .dsc.
    """
    lists = apt.Apt(folder, [apt.source(mirror, SUITE, kind="deb-src")], log)
    lists.update()
    name, sha256, directory = source_entry(lists.ask("apt-cache", "showsrc", "--only-source", "bochs"))
    if sha256 != SHA256:
        raise ImageError(f"{name} in suite {SUITE} has changed: SHA256 {sha256}, expected {SHA256}")
    uri = f"{mirror.rstrip('/')}/{directory}/{name.replace('+', '%2b')}"
    fetched = folder / name
    lists.run(apt.HELPER, "download-file", uri, str(fetched), f"SHA256:{sha256}")
    if digest(fetched) != sha256:
        raise ImageError(f"{name}: SHA256 differs from the one in Debian's list")
    os.replace(fetched, archive)


def source_entry(text: str) -> tuple[str, str, str]:
    """Name, SHA256 and folder of the upstream tarball, from `apt-cache showsrc`."""
    for entry in text.split("\n\n"):
        version = re.search(r"^Version: (.*)$", entry, re.M)
        directory = re.search(r"^Directory: (.*)$", entry, re.M)
        sums = re.search(r"^Checksums-Sha256:\n((?: .*\n?)+)", entry, re.M)
        if not (version and directory and sums and PACKAGE_VERSION.match(version[1])):
            continue
        for line in sums[1].splitlines():
            sha256, _, name = line.split()
            if name.endswith(".orig.tar.xz"):
                return name, sha256, directory[1]
    raise ImageError(f"the mirror's suite {SUITE} has no source package bochs {VERSION}")


def install_packages() -> None:
    script = Path(__file__).resolve().parent / "deps.sh"
    if subprocess.run([str(script), *BUILD_PACKAGES, *FIRMWARE_PACKAGES]).returncode != 0:
        raise ImageError("build dependencies are missing")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="build_bochs.py", description=__doc__.splitlines()[0])
    parser.add_argument("--fixes", action="store_true", help="with our patches, for stacks with Linux KVM")
    parser.add_argument("--folder", type=Path, help=f"where to (default: {default_folder()}, with --fixes +{FIXES})")
    parser.add_argument("--jobs", "-j", type=int, default=os.cpu_count() or 1, help="compilers at a time")
    parser.add_argument("--mirror", default="", help="a Debian mirror (default: the one that apt is configured for)")
    parser.add_argument("--tarball", type=Path, help=f"bochs_{VERSION}+dfsg.orig.tar.xz that you have already")
    parser.add_argument("--keep", action="store_true", help="keep source and objects after a successful build")
    parser.add_argument("--force", action="store_true", help="build even if there is one")
    arguments = parser.parse_args(argv)
    if arguments.jobs < 1:
        parser.error("--jobs must be at least 1")
    return arguments


def work(arguments: argparse.Namespace) -> None:
    folder = arguments.folder or default_folder(arguments.fixes)
    build = Build(
        folder.absolute(), jobs=arguments.jobs, mirror=arguments.mirror, tarball=arguments.tarball, fixes=arguments.fixes
    )
    if arguments.force:
        build.facts.unlink(missing_ok=True)
    if build.is_done():
        say(f"{build.binary} is up to date")
        return
    install_packages()
    build.run()
    if not arguments.keep:
        build.clean()
    say(f"{build.binary} is ready")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    return program("bochs", lambda: work(arguments), "the next run goes on from here")


if __name__ == "__main__":
    sys.exit(main())
