# SPDX-License-Identifier: BSD-2-Clause
"""apt with package lists of its own: the system's are neither read nor changed, and no root is needed."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from images.common import ImageError, write_file
from images.logged import logged_run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
HELPER = "/usr/lib/apt/apt-helper"

SUITES = {"bullseye", "bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable", "oldstable"}
SECURITY_SUITE = re.compile(r"[a-z]+-security")
ASK_TIMEOUT = 300  # seconds; without a cache on the disk a question takes some


class Apt:
    """Sources, lists and packages in one folder. What apt says of its downloads goes into the log."""

    def __init__(self, folder: Path, sources: Sequence[str], log: Path) -> None:
        for needed, package in ((KEYRING, "debian-archive-keyring"), (Path(HELPER), "apt")):
            if not needed.exists():
                raise ImageError(f"{needed} is missing (Debian package {package})")
        self.folder = folder
        self.log = log
        for part in ("lists/partial", "cache/archives/partial"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        file = folder / "sources.list"
        write_file(file, "".join(f"{line}\n" for line in sources).encode())
        self.options = [
            f"-oDir::Etc::sourcelist={file}",
            "-oDir::Etc::sourceparts=/dev/null",
            # What is installed or pinned on this machine doesn't matter.
            "-oDir::Etc::preferences=/dev/null",
            "-oDir::Etc::preferencesparts=/dev/null",
            "-oDir::State::status=/dev/null",
            f"-oDir::State::lists={folder}/lists",
            f"-oDir::Cache={folder}/cache",
            "-oAcquire::Languages=none",
            # An archive that can't be reached is an error, not a reason to go on with old lists or none.
            "-oAPT::Update::Error-Mode=any",
            # Without this apt complains, as root, that its own user can't write to our folder.
            *(["-oAPT::Sandbox::User=root"] if os.geteuid() == 0 else []),
        ]

    def update(self) -> None:
        self.run("apt-get", "update")

    def run(self, program: str, *args: str, folder: Path | None = None) -> None:
        try:
            logged_run([program, *self.options, *args], self.log, folder=folder or self.folder)
        except ImageError as e:
            said = re.findall(r"^E: (.*)$", str(e), re.M)
            raise ImageError(f"{'; '.join(said)} (log: {self.log})") if said else e from e

    def ask(self, program: str, *args: str) -> str:
        return output([program, *self.options, *args])


def source(mirror: str, suite: str, *, kind: str = "deb") -> str:
    """A line of a sources.list, for what Debian has signed."""
    arch = "arch=amd64 " if kind == "deb" else ""
    return f"{kind} [{arch}signed-by={KEYRING}] {mirror} {suite} main"


def debian_mirror() -> str:
    """The address that this machine gets Debian's packages from."""
    for uri, release in configured():
        if release in SUITES:
            return uri
    raise ImageError("apt has no Debian mirror configured: give one by --mirror")


def security_mirror(main: str) -> str:
    """The address of the security archive: the one that is configured, else where it is beside the main archive."""
    for uri, release in configured():
        if SECURITY_SUITE.fullmatch(release):
            return uri
    beside = re.fullmatch(r"(.*/debian)/?", main)
    if not beside:
        raise ImageError(f"apt has no Debian security archive configured, and {main} doesn't tell where it is: "
                         "give it by --security-mirror")  # fmt: skip
    return f"{beside[1]}-security"


def configured() -> Iterator[tuple[str, str]]:
    """Address and suite of what this machine's apt gets from sections "main"."""
    for line in output(["apt-get", "indextargets", "--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)"]).splitlines():
        uri, release, component = line.split("|")
        if component == "main":
            yield uri, release


def output(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=ASK_TIMEOUT, env={**os.environ, "LC_ALL": "C"}
        )
    except (OSError, subprocess.SubprocessError) as e:
        raise ImageError(f"{command[0]}: {e}") from e
    if done.returncode != 0:
        raise ImageError(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout
