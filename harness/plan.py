# SPDX-License-Identifier: BSD-2-Clause
"""What to run: items, the machines they run on, and how they are spread over boots, shards and workers."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness import cover, elf
from harness.cases import Item, mask_item
from harness.errors import UsageError
from harness.options import OptionTable
from harness.settings import Settings, words
from harness.stacks import LAYERS, Stack

# lhv's limits (docs/protocol.md, "lhv's command line"), with room for the other options.
CMDLINE_ROOM = 3800
ITEMS_MAX = 200


@dataclass(frozen=True)
class Machine:
    stack: Stack
    arch: str
    cpus: int

    @property
    def name(self) -> str:
        return f"{self.stack.name}/{self.arch}/{self.cpus}cpu"


@dataclass(frozen=True)
class Case:
    """One item on one machine; pytest's unit."""

    machine: Machine
    item: Item
    group: str  # cases of a group share a boot

    @property
    def id(self) -> str:
        return f"{self.machine.name}/{self.item.id}"


def glob_selects(glob: str, test: elf.TestInfo) -> bool:
    """As lhv does it: only * and ? are special; a canary must be named without them."""
    if test.canary and re.search(r"[*?]", glob):
        return False
    pattern = re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".")
    return any(re.fullmatch(pattern, name) for name in (test.id, test.name))


def select_tests(globs: Sequence[str], tests: Sequence[elf.TestInfo]) -> list[elf.TestInfo]:
    return [t for t in tests if any(glob_selects(g, t) for g in globs)]


def _masks(settings: Settings, table: OptionTable) -> list[int]:
    if settings.opts:
        return list(dict.fromkeys(table.parse(w) for w in words(settings.opts)))
    return [] if settings.tests else cover.covering(table)


def _globs(settings: Settings) -> tuple[str, ...]:
    if settings.tests:
        return words(settings.tests)
    return () if settings.opts else ("*",)


def items_of(settings: Settings) -> dict[str, list[Item]]:
    """By architecture: masks, then tests, in the image's order or shuffled. Raises UsageError for what doesn't exist."""
    table = OptionTable.load(settings.tables)
    masks = [mask_item(m, table) for m in _masks(settings, table)]
    globs, unused = _globs(settings), set(words(settings.tests))
    out = {}
    for arch in settings.archs:
        tests = [t for t in elf.read_tests(settings.kernel(arch)) if t.runs_on(arch)]
        unused -= {g for g in globs if any(glob_selects(g, t) for t in tests)}
        chosen = select_tests(globs, tests)
        if settings.shuffle:
            masks, chosen = shuffled(masks, chosen, settings.shuffle)
        out[arch] = masks + [t.item() for t in chosen]
    if unused:
        raise UsageError(f"--test {min(unused)}: no such test (see --list)")
    return out


def shuffled(masks: Sequence[Item], tests: Sequence[elf.TestInfo], seed: int) -> tuple[list[Item], list[elf.TestInfo]]:
    """The same in another order, each seed its own; tests that must be last stay there."""
    order = random.Random(seed)
    out = list(masks), list(tests)
    for part in out:
        order.shuffle(part)
    return out[0], sorted(out[1], key=lambda test: test.last)


def not_planned(settings: Settings) -> list[str]:
    """Machines that were asked for and can't be, for people."""
    return [
        f"{stack.name}/{arch} isn't planned: {stack.layers[-1]} runs {' and '.join(LAYERS[stack.layers[-1]])} only"
        for stack in settings.stack_list()
        for arch in settings.archs
        if not stack.runs(arch)
    ]


def make(settings: Settings) -> list[Case]:
    """All cases of the run, in order; of a shard only its own."""
    items = items_of(settings)
    wanted = [
        (Machine(stack, arch, cpus), item)
        for stack in settings.stack_list()
        for arch in settings.archs
        if stack.runs(arch)
        for cpus in settings.cpus
        for item in items[arch]
    ]
    cases = []
    for machine, own in _by_machine(_shard(wanted, *settings.shard)):
        for n, part in enumerate(_boots(own, settings.splits)):
            cases += [Case(machine, item, f"{machine.name}/{n}") for item in part]
    return cases


def _shard(wanted: list[tuple[Machine, Item]], part: int, parts: int) -> list[tuple[Machine, Item]]:
    """A contiguous share, so that it needs few boots; the cost of an item grows with the number of CPUs."""
    total = sum(machine.cpus for machine, _ in wanted)
    out, cost = [], 0
    for machine, item in wanted:
        if cost * parts // max(total, 1) == part - 1:
            out.append((machine, item))
        cost += machine.cpus
    return out


def _by_machine(wanted: list[tuple[Machine, Item]]) -> list[tuple[Machine, list[Item]]]:
    out: dict[Machine, list[Item]] = {}
    for machine, item in wanted:
        out.setdefault(machine, []).append(item)
    return list(out.items())


def _boots(items: list[Item], splits: int) -> list[list[Item]]:
    """Consecutive items that fit a command line, in at least `splits` parts if there are that many items."""
    parts = min(splits, len(items))
    out: list[list[Item]] = []
    length = 0
    for n, item in enumerate(items):
        size = len(item.word[1]) + 1
        new_part = n == 0 or n * parts // len(items) != (n - 1) * parts // len(items)
        if new_part or len(out[-1]) == ITEMS_MAX or length + size > CMDLINE_ROOM:
            out.append([])
            length = 0
        out[-1].append(item)
        length += size
    return out
