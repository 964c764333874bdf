# SPDX-License-Identifier: BSD-2-Clause
"""The entries of the USB stick's menu: which command lines lhv is offered with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from images.common import ImageError, read_file

# Masks with a history: the ones that real machines are usually tried with.
CLASSIC_MASKS = (0x3C, 0x3E)
EXIT = "exit=none"  # on a real machine the verdict stays on the screen


@dataclass(frozen=True)
class Entry:
    title: str
    cmdline: str


@dataclass(frozen=True)
class Option:
    bit: int
    name: str
    text: str
    requires: int = 0
    conflicts: int = 0


def load_options(path: str | Path) -> list[Option]:
    """The options in the JSON file that the build makes from lhv's option table."""
    try:
        rows = json.loads(read_file(path))["options"]
        return [
            Option(number(r["bit"]), r["name"], r["text"], number(r.get("requires", 0)), number(r.get("conflicts", 0)))
            for r in rows
        ]
    except (ValueError, KeyError, TypeError) as e:
        raise ImageError(f"{path}: not the tables of lhv ({e!r})") from e


def number(value: int | str) -> int:
    return int(value, 0) if isinstance(value, str) else int(value)


def default_entries(options: list[Option]) -> list[Entry]:
    entries = [Entry("Default run", EXIT), Entry("All tests", f"test=* {EXIT}")]
    if not options:
        return entries + [Entry(f"Mask {mask:#x}", f"opt={mask:#x} {EXIT}") for mask in CLASSIC_MASKS]
    single = [with_required(o.bit, options) for o in options]
    everything = all_legal(options)
    masks = list(dict.fromkeys([0, *single, *CLASSIC_MASKS, everything]))
    full = ",".join(f"{mask:#x}" for mask in masks)
    entries.append(Entry("Everything: all masks of this menu, then all tests", f"opt={full} test=* {EXIT}"))
    entries += [Entry(f"Mask {mask:#x}: {names(mask, options)}", f"opt={mask:#x} {EXIT}") for mask in CLASSIC_MASKS]
    entries.append(Entry(f"Mask {everything:#x}: all options that go together", f"opt={everything:#x} {EXIT}"))
    for option, mask in zip(options, single):
        entries.append(Entry(f"{option.name} ({mask:#x}): {option.text}", f"opt={mask:#x} {EXIT}"))
    return entries


def names(mask: int, options: list[Option]) -> str:
    return " ".join(o.name for o in options if o.bit & mask)


def with_required(mask: int, options: list[Option]) -> int:
    while True:
        wider = mask
        for o in options:
            if o.bit & mask:
                wider |= o.requires
        if wider == mask:
            return mask
        mask = wider


def all_legal(options: list[Option]) -> int:
    """All options but the ones in conflict with the most others."""
    chosen = list(options)
    while True:
        mask = sum(o.bit for o in chosen)
        clashes = {o: conflict_count(o, chosen) for o in chosen}
        worst = max(chosen, key=lambda o: clashes[o], default=None)
        if worst is None or clashes[worst] == 0:
            return mask
        chosen.remove(worst)


def conflict_count(option: Option, others: list[Option]) -> int:
    return sum(1 for o in others if o.bit & option.conflicts or option.bit & o.conflicts)
