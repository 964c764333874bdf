# SPDX-License-Identifier: BSD-2-Clause
"""Command lines that repeat what a search has found."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Collection, Sequence

from harness import settings
from harness.cases import Item
from harness.plan import Case, Machine
from harness.probe import Words
from harness.stacks import DEFAULT_MODELS, Stack


def passed_on(args: argparse.Namespace, without: Collection[str]) -> list[str]:
    """The options that such a command needs as well."""
    out = []
    for name in (*settings.LISTS, *settings.VALUES):
        if name not in (*without, "iter", "seed", "keep"):
            value = getattr(args, name)
            values = value if name in settings.LISTS else [value] if value else []
            out += [word for v in values for word in (f"--{name.replace('_', '-')}", v)]
    return out


def run_command(stacks: Sequence[Stack], words: Words, item: Item, options: Sequence[str]) -> str:
    """Of this item alone, on each of the stacks."""
    out = ["./run_tests.py", *(word for stack in stacks for word in ("--stack", stack.name))]
    # Without one, and without a Bochs that is named, all models that are usual are run.
    if "--bochs" not in options and any(s.engine == "bochs" and ":" not in s.name for s in stacks):
        out += ["--cpu-model", DEFAULT_MODELS["bochs"]]
    kind, value = item.word
    out += ["--arch", words.arch, "--cpus", str(words.cpus), f"--{kind}", value]
    return shlex.join([*out, *_lhv_options(words, item), *options])


def bundle_command(stack: Stack, words: Words, item: Item, options: Sequence[str]) -> str:
    machine = Machine(stack, words.arch, words.cpus)
    id = Case(machine, item, machine.name).id
    return shlex.join(["./run_tests.py", "--bundle", id, *_lhv_options(words, item), *options])


def _lhv_options(words: Words, item: Item) -> list[str]:
    out = ["--iter", str(words.iterations)] if words.iterations and item.per_cpu else []
    return [*out, "--seed", str(words.seed)] if words.seed != 1 else out
