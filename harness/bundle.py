# SPDX-License-Identifier: BSD-2-Clause
"""A folder with all that a bug report needs."""

from __future__ import annotations

from pathlib import Path

from harness.settings import Settings


def make(id: str, folder: Path, settings: Settings) -> int:
    raise NotImplementedError
