#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Stands in for Bochs: takes its options and files, and writes to COM1 what FAKE_BOCHS (JSON) says.

    {"items": {...}}        behaviour of harness/tests/fake_lhv.py
    {"start": "die"}        ends at once, as Bochs does with a bad configuration
    {"start": "silent"}     runs and says nothing
    {"start": "reset"}      triple fault before the first line
    {"before": "..."}       another layer's output before lhv's; then hangs if "then" is "hang"
    {"text": "..."}         another kernel's output instead of lhv's; then hangs if "then" is "hang"
    {"burn": true}          uses CPU time when it hangs
    {"nested": {...}}       instead of "items" on a stack with xmhf-nest
    {"version": "3.0"}      what it says it is
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness.tests.fake_lhv import Crash, Guest, Hang, parse  # noqa: E402

SCRIPT: dict[str, Any] = json.loads(os.environ.get("FAKE_BOCHS", "{}"))
# A version that no data is about.
BANNER = f"Bochs x86 Emulator {SCRIPT.get('version', '9.0')}"


def main() -> int:
    print(BANNER)
    if "--help" in sys.argv:
        print("corei7_haswell_4770\ntigerlake" if sys.argv[-1] == "cpu" else "  -rc filename     execute commands")
        return 0
    script = SCRIPT
    rc = Path(sys.argv[sys.argv.index("-f") + 1]).read_text()
    if "end_of_probe" in rc:
        print("bochsrc:2: directive 'end_of_probe' not understood")
        return 1
    if script.get("start") == "die":
        print("00000000000p[      ] >>PANIC<< bochsrc:3: no such ROM")
        return 1
    com1 = Path(re.search(r'^com1: .*dev="(.*)"$', rc, re.M)[1])  # type: ignore[index]
    Path(re.search(r'path="(.*)", mode=flat', rc)[1] + ".lock").touch()  # type: ignore[index]
    if script.get("start") == "silent":
        return hang(script)
    if script.get("start") == "reset":
        print("00000123456p[CPU0  ] >>PANIC<< exception(): 3rd (13) exception with no resolution")
        return 1
    print("00000004711i[CPU0  ] the guest runs")
    with com1.open("wb", buffering=0) as out:
        if "text" in script:
            out.write(script["text"].encode("latin-1"))
            return hang(script) if script.get("then") == "hang" else 0
        out.write(script.get("before", "").encode("latin-1"))
        if script.get("then") == "hang":
            return hang(script)
        options = parse(json.loads(Path("boot.json").read_text())["cmdline"])
        nested = "xmhf-nest" in Path.cwd().name
        behaviour = script["nested"] if nested and "nested" in script else script.get("items", {})
        guest = Guest(options, script.get("arch", "amd64"), behaviour)
        try:
            for line in guest.run():
                out.write(line)
        except Hang:
            return hang(script)
        except Crash:
            print("00000123456p[CPU0  ] >>PANIC<< exception(): 3rd (13) exception with no resolution")
            return 1
    return 1  # as Bochs does after a shutdown by port 0x8900


def hang(script: dict[str, Any]) -> int:
    while True:
        if not script.get("burn"):
            time.sleep(3600)


if __name__ == "__main__":
    sys.exit(main())
