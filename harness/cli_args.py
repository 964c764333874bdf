# SPDX-License-Identifier: BSD-2-Clause
"""run_tests.py's options, and how they are passed on to pytest and its workers."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NoReturn

from harness import settings
from harness.errors import UsageError
from harness.plan import Case
from harness.plugin import option_name
from harness.settings import ROOT
from harness.stacks import FOREIGN, LAYERS

# Other commands: the first word is their name, and each has a module of that name.
COMMANDS = {
    "compare": "compares runs of several stacks, or reports: which verdicts differ, and who is wrong",
    "minimize": "finds the least that still shows a difference between two stacks",
    "bisect": "finds the first of several hosts (Bochs, Debian's kernels) on which a verdict changes",
}
_EPILOG = """other commands: {commands} (each has its own --help).
exit codes: 0 all as expected, 1 something unexpected, 2 usage, 3 environment, 4 nothing but skips,
130 interrupted. Everything else: docs/harness.md."""
_REMOTE_FOLDER = "lhv-harness"  # in the home folder of hosts that are used by ssh


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see --help)")


def parser() -> argparse.ArgumentParser:
    p = Parser(
        "run_tests.py",
        description="Boots lhv on stacks of hypervisors and judges what comes out.",
        epilog=_EPILOG.format(commands=", ".join(COMMANDS)),
        allow_abbrev=False,
    )
    add_selection(p, ())
    how = p.add_argument_group("how")
    add_jobs(how)
    add_no_build(how)
    out = p.add_argument_group("what comes out")
    out.add_argument("--list", action="store_true", help="tell what would be run, and end")
    out.add_argument("--rules", action="store_true", help="tell which rules of the SDM the tests judge, run nothing, and end")
    out.add_argument(
        "--json-in", type=Path, action="append", default=[], metavar="F", help="for --rules: report of a run, to tell which rules hold"
    )
    out.add_argument("--json", type=Path, metavar="F", help="results as data")
    out.add_argument("--junit", type=Path, metavar="F", help="results for CI systems")
    out.add_argument("--html", type=Path, metavar="F", help="results as a matrix to look at, with what an L0 changes")
    out.add_argument("--bundle", metavar="ID", help="run the case of a result's id and write all that a bug report needs")
    out.add_argument("--bundle-dir", metavar="DIR", default=str(ROOT / "build" / "bundle"), help="where to")
    out.add_argument("-v", "--verbose", action="store_true", help="tell every result, also the GOOD ones")
    return p


def add_selection(p: argparse.ArgumentParser, without: Collection[str]) -> None:
    """What to run, and on what, but for some options."""
    what = p.add_argument_group("what to run, and on what; options that are lists can be repeated, or take commas")
    for name, text in settings.LISTS.items():
        if name not in without:
            what.add_argument(f"--{name.replace('_', '-')}", action="append", default=[], metavar="X", help=text)
    for name, text in settings.VALUES.items():
        if name not in without:
            what.add_argument(f"--{name.replace('_', '-')}", metavar="X", help=text)
    p.set_defaults(**{name: [] if name in settings.LISTS else None for name in without})


def add_jobs(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-j", dest="jobs", action="append", default=[], metavar="N|ssh=HOST",
        help="workers: here, or on hosts (N*ssh=HOST for several); default: one per CPU",
    )  # fmt: skip


def add_no_build(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--no-build", action="store_true", help="don't run make")


def settings_of(args: argparse.Namespace, splits: int = 1) -> settings.Settings:
    values = {**vars(args), "splits": str(splits)}
    return settings.from_options(values.__getitem__)


def pytest_options(args: argparse.Namespace, splits: int) -> list[str]:
    """One word each: xdist takes a word by itself that is a file's name for a path to translate."""
    out = [f"{option_name(name)}={value}" for name in settings.LISTS for value in getattr(args, name)]
    for name in settings.VALUES:
        if (value := getattr(args, name)) is not None:
            path = name in settings.PATHS or (name == "bochs" and "/" in value)
            out.append(f"{option_name(name)}={os.path.abspath(value) if path else value}")
    return [*out, f"--splits={splits}", "--no-build"]


def parse_jobs(values: Sequence[str]) -> list[str]:
    """Specifications of xdist's workers."""
    specs: list[str] = []
    for word in settings.words(values):
        match = re.fullmatch(r"(?:(?P<local>[1-9][0-9]*)|(?:(?P<n>[1-9][0-9]*)\*)?ssh=(?P<host>[^/\s]+))", word)
        if not match:
            raise UsageError(f"-j {word}: a number, ssh=HOST, or N*ssh=HOST is wanted")
        if match["host"]:
            specs += [f"ssh={match['host']}//python=/usr/bin/python3//chdir={_REMOTE_FOLDER}"] * int(match["n"] or 1)
        else:
            specs += ["popen"] * int(match["local"])
    return specs


def workers(values: Sequence[str], cases: Sequence[Case]) -> tuple[list[str], int]:
    """xdist's specifications (empty: all in this process), and over how many boots to spread a machine's items."""
    boots = max(1, len({c.group for c in cases}))
    if not values:
        local = min(len(os.sched_getaffinity(0)), boots)
        return (["popen"] * local if local > 1 else []), 1
    specs = parse_jobs(values)
    if specs == ["popen"]:
        return [], 1
    return specs, -(-len(specs) // boots)


def xdist_options(specs: Sequence[str]) -> list[str]:
    if not specs:
        return ["-p", "no:xdist"]
    out = ["--dist=loadgroup", *(f"--tx={s}" for s in specs)]
    if any(s.startswith("ssh=") for s in specs):
        out.append(f"--rsyncdir={ROOT}")
        out += [f"--rsyncignore={path}" for path in _not_needed_there()]
    return out


def _not_needed_there() -> list[Path]:
    """Of build/, workers need the kernels and the tables."""
    own = settings.Settings()
    kernels = [own.kernel(a) for a in settings.ARCHS] + [own.layer(name) for name in LAYERS if name != FOREIGN]
    folders = {k.parent for k in kernels}
    wanted = {own.tables, *folders, *kernels}
    return [p for folder in (own.build, *sorted(folders)) if folder.is_dir() for p in folder.iterdir() if p not in wanted]
