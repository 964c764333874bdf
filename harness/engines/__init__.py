# SPDX-License-Identifier: BSD-2-Clause
"""Back ends: what can run an image."""

from __future__ import annotations

from harness.engines.base import Boot, Engine, Launch
from harness.engines.bochs import BochsEngine
from harness.engines.qemu import QemuEngine
from harness.stacks import Stack

__all__ = ["Boot", "Engine", "Launch", "find"]


def find(stack: Stack, bochs_path: str = "") -> Engine:
    """Raises EnvironmentProblem if it isn't there, UsageError if it is but can't be what was asked for."""
    if stack.engine == "bochs":
        return BochsEngine.find(stack, bochs_path)
    return QemuEngine.find(stack)
