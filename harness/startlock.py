# SPDX-License-Identifier: BSD-2-Clause
"""One start at a time, for emulators that race for a port.

Bochs' rfb display binds the first free port from 5900 on with SO_REUSEADDR: two that start at the same moment both get
it, and the second one's listen() fails. So a start waits until the one before listens. The lock is a name in the
kernel's abstract socket namespace: it is gone with its owner, and leaves no file.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NAME = "\0lhv-harness-start"
_PATIENCE = 60.0  # seconds; with many workers on a busy machine a start takes its time
_LISTENING = "0A"  # state in /proc/net/tcp


@contextmanager
def start_lock() -> Iterator[None]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lock:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                lock.bind(_NAME)
                break
            except OSError as e:
                if e.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise
            time.sleep(0.02)
        yield


def listens(pid: int) -> bool:
    """Has the process a listening TCP socket?"""
    try:
        own = {os.readlink(f) for f in Path(f"/proc/{pid}/fd").iterdir()}
        rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    except OSError:  # it has just ended, or closed the descriptor
        return False
    return any(row[3] == _LISTENING and f"socket:[{row[9]}]" in own for row in rows)
