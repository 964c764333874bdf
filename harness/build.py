# SPDX-License-Identifier: BSD-2-Clause
"""Has make bring lhv and what Python knows of it up to date."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys

from harness.errors import EnvironmentProblem
from harness.settings import ROOT, Settings

TARGETS = ("lhv", "xmhf-nest", "kvm", "build/tables.json")


def make(settings: Settings, *, quiet: bool = False) -> None:
    """Nothing to do if the run uses another build folder than make's. quiet: what make says is in the exception."""
    if settings.build != ROOT / "build":
        return
    if shutil.which("make") is None:
        raise EnvironmentProblem("make is not installed (apt-get install make), or use --no-build")
    out = subprocess.PIPE if quiet else sys.stderr.fileno()
    command = ["make", "-s", *TARGETS]
    settings.build.mkdir(exist_ok=True)
    with open(settings.build / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs may start at once
        done = subprocess.run(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT if quiet else None
        )
    if done.returncode:
        text = (done.stdout or b"").decode(errors="replace")[-2000:]
        raise EnvironmentProblem(f"`{' '.join(command)}` failed with status {done.returncode}\n{text}".rstrip())
