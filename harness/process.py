# SPDX-License-Identifier: BSD-2-Clause
"""An emulator as a child process: its CPU time, its end, and that it never outlives us."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


class Child:
    """A context manager; on leaving, the process and its group are gone."""

    def __init__(self, argv: Sequence[str], cwd: Path, console: Path):
        # setpriv (util-linux) makes the kernel kill the emulator if we die in a way that lets us do nothing more.
        guarded = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
        with console.open("wb") as out:
            self._popen = subprocess.Popen(
                guarded, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.pid = self._popen.pid
        self.cpu_seconds = 0.0

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def poll(self) -> int | None:
        """Brings cpu_seconds up to date. The exit status (negative: a signal's number) if the process has ended."""
        if self._popen.returncode is None:
            state = self._stat()
            if state == "Z":  # its times could not be read after the wait
                self._popen.wait()
        return self._popen.returncode

    def _stat(self) -> str:
        text = Path(f"/proc/{self.pid}/stat").read_text()
        fields = text[text.rindex(")") + 2 :].split()
        self.cpu_seconds = (int(fields[11]) + int(fields[12])) / _TICKS
        return fields[0]

    def kill(self) -> None:
        """SIGKILL to its group. Bochs catches SIGTERM and would ask questions."""
        if self.poll() is not None:
            return
        os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
