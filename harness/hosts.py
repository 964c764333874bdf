# SPDX-License-Identifier: BSD-2-Clause
"""Ordered lists of hosts that one can search through, oldest first: builds of Bochs, Debian's versions of a kernel."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from harness import stacks
from harness.errors import EnvironmentProblem, UsageError
from harness.settings import Settings
from harness.stacks import KVM_LINES, KVM_OWN, Stack
from images import ImageError


class Hosts(Protocol):
    """What differs from one host to the next."""

    @property
    def names(self) -> Sequence[str]: ...

    def stack(self, like: Stack) -> Stack:
        """The stack to ask, where the user means this one."""

    def settings(self, name: str, wanted: Settings) -> Settings:
        """With this host."""

    def options(self, name: str) -> list[str]:
        """The same for a command line."""


class Kernels(Protocol):
    """Where versions of kernels come from: images/kvm/kernels.py, unless a test has its own."""

    def versions(self, line: str) -> list[str]:
        """Oldest first."""


@dataclass(frozen=True)
class BochsHosts:
    names: tuple[str, ...]

    def stack(self, like: Stack) -> Stack:
        """Whatever version it is."""
        return replace(like, version="")

    def settings(self, name: str, wanted: Settings) -> Settings:
        # Emulators run in a folder of their own.
        return replace(wanted, bochs=str(Path(name).absolute()) if "/" in name else name)

    def options(self, name: str) -> list[str]:
        return ["--bochs", name]


@dataclass(frozen=True)
class KernelHosts:
    line: str
    names: tuple[str, ...]

    def stack(self, like: Stack) -> Stack:
        vmm = like.layers[-1].partition("/")[1:] if like.kvm else ()
        below = like.below or like
        return stacks.parse(f"{below.name}/{KVM_OWN}-{self.line}{''.join(vmm)}")

    def settings(self, name: str, wanted: Settings) -> Settings:
        return replace(wanted, kernel_version=name)

    def options(self, name: str) -> list[str]:
        return ["--kernel-version", name]


_OVER = re.compile(r"(?P<what>bochs|kernel)=(?P<list>.+)")
_LINE = re.compile(r"(?P<line>[^:]+)(:(?P<first>.*?)\.\.(?P<last>.*))?")


def parse(text: str, kernels: Kernels | None = None) -> Hosts:
    """What --over says. Raises UsageError, EnvironmentProblem."""
    match = _OVER.fullmatch(text)
    if not match:
        raise UsageError(f"--over {text}: bochs=PATH,PATH,... or kernel=LINE[:FROM..TO] is wanted")
    if match["what"] == "bochs":
        paths = tuple(p for p in match["list"].split(",") if p)
        return _enough(text, BochsHosts(paths))
    return _enough(text, _kernels(text, match["list"], kernels))


def _enough(text: str, hosts: BochsHosts | KernelHosts) -> Hosts:
    if len(hosts.names) < 2:
        raise UsageError(f"--over {text}: two are wanted at least")
    if len(set(hosts.names)) < len(hosts.names):
        raise UsageError(f"--over {text}: one is there twice")
    return hosts


def _kernels(text: str, words: str, kernels: Kernels | None) -> KernelHosts:
    match = _LINE.fullmatch(words)
    if not match or match["line"] not in KVM_LINES:
        raise UsageError(f"--over {text}: kernel=LINE[:FROM..TO] is wanted, with one of the lines {', '.join(KVM_LINES)}")
    names = _versions(match["line"], kernels)
    ends = []
    for end, default in ((match["first"], 0), (match["last"], len(names) - 1)):
        if end and end not in names:
            raise UsageError(f"--over {text}: there is no {end} (there are {', '.join(names)})")
        ends.append(names.index(end) if end else default)
    return KernelHosts(match["line"], tuple(names[ends[0] : ends[1] + 1]))


def _versions(line: str, kernels: Kernels | None) -> list[str]:
    if kernels is None:
        from images.kvm import kernels as debian  # most searches need nothing of it

        kernels = debian
    try:
        return kernels.versions(line)
    except ImageError as e:
        raise EnvironmentProblem(str(e)) from e
