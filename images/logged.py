# SPDX-License-Identifier: BSD-2-Clause
"""Long commands whose output goes into a log: compilers, apt."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from images.common import ImageError

Env = dict[str, str] | None
Progress = Callable[[], None] | None

STEP_TIMEOUT = 3600  # seconds; a build takes some minutes on two cores
PROGRESS_SECONDS = 15


def logged_run(
    command: Sequence[str], log: Path, *, folder: Path, env: Env = None, progress: Progress = None
) -> None:
    """Run a command niced, its output into the log; whatever ends this program ends the command too."""
    with open(log, "ab") as out:
        out.write(f"\n$ {' '.join(command)}\n".encode())
        out.flush()
        try:
            process = subprocess.Popen(
                ["nice", *command],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LC_ALL": "C", **(env or {})},
                process_group=0,
            )
        except OSError as e:
            raise ImageError(f"{command[0]}: {e}") from e
        try:
            status = wait(process, progress)
        except BaseException:
            # SIGINT lets make remove the object file that it is writing, so that the next run can go on.
            stop_group(process)
            raise
    if status != 0:
        tail = log.read_text(errors="replace").splitlines()[-15:]
        raise ImageError("\n".join([f"{command[0]} failed with status {status}; the end of {log}:", *tail]))


def wait(process: subprocess.Popen[bytes], progress: Progress) -> int:
    deadline = time.monotonic() + STEP_TIMEOUT
    while time.monotonic() < deadline:
        try:
            return process.wait(PROGRESS_SECONDS)
        except subprocess.TimeoutExpired:
            if progress:
                progress()
    raise ImageError(f"a step took more than {STEP_TIMEOUT} s: {process.args!r}")


def stop_group(process: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            return
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            continue
