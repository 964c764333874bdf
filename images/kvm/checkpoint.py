# SPDX-License-Identifier: BSD-2-Clause
"""Which Bochs can save the appliance's state, and how it is made to."""

from __future__ import annotations

from pathlib import Path

from images.common import read_file, run_tool

_VARIABLE = "BOCHS_CHECKPOINT"  # the folder; also in checkpoint.c and in our patch
_SHIM = Path(__file__).resolve().parent / "checkpoint.c"


def possible(path: str, debugger: bool) -> bool:
    """A build of ours (images/bochs) does it by itself; one with debugger by a preloaded object."""
    return debugger or _VARIABLE.encode() in read_file(path)


def environment(debugger: bool, scratch: Path, state: Path) -> dict[str, str]:
    out = {_VARIABLE: str(state)}
    if debugger:
        shim = scratch / "checkpoint.so"
        run_tool(["gcc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o", str(shim), str(_SHIM), "-ldl"])
        out["LD_PRELOAD"] = str(shim)
    return out
