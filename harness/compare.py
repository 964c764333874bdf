# SPDX-License-Identifier: BSD-2-Clause
"""run_tests.py compare: which verdicts differ between stacks, and who is wrong (docs/harness.md, "Comparing")."""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from harness import build, cli, cli_args, plugin, settings, stacks, vote
from harness.errors import UsageError
from harness.options import OptionTable
from harness.report import html, merge, votes
from harness.report.collect import SCHEMA, write_json
from harness.report.differences import path_of
from harness.report.ktap import KtapWriter, clean
from harness.report.live import LiveDisplay
from harness.report.merge import Document, Source
from harness.rows import EXIT_ENVIRONMENT, EXIT_INTERRUPTED, EXIT_OK, EXIT_UNEXPECTED, Row
from harness.runner import Runner
from harness.settings import MODELS
from harness.verdicts import Verdict

_EPILOG = """exit codes: 0 no verdict differs, 1 some do, 2 usage, 3 environment, 130 interrupted. Everything else: docs/harness.md."""
# What reports can be searched for; everything else is for runs.
_FILTERS = ("arch", "cpus", "opt", "test", "build_dir")


def parser() -> argparse.ArgumentParser:
    p = cli_args.Parser(
        "run_tests.py compare",
        description="Tells which verdicts differ between stacks, which stack is the odd one out by vote, and whose fault it is.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    p.add_argument("what", nargs="+", metavar="WHAT", help="report that --json wrote, or name of a stack: it is run first")
    cli_args.add_selection(p, ("stack", "shard", "l1", "append", "expect", "reject", "dump"))
    how = p.add_argument_group("how")
    cli_args.add_jobs(how)
    cli_args.add_no_build(how)
    out = p.add_argument_group("what comes out")
    out.add_argument("--json", type=Path, metavar="F", help="the differences as data")
    out.add_argument("--html", type=Path, metavar="F", help="everything as a matrix to look at")
    return p


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)
    names = [word for word in args.what if _is_stack(word)]
    files = [Path(word) for word in args.what if word not in names]
    if not names:
        _check_filters(args)
    reports = [Source(path.stem, _filtered(_read(path), args)) for path in files]
    for path in (args.json, args.html):
        if path:
            cli.check_writable(path)
    ran, problems = _run(args, names) if names else ([], [])
    document = merge.documents([*reports, *ran])
    counts = _paths(document)
    if len({r["stack"] for r in document["results"]}) < 2 or max(counts.values()) < 2:
        raise UsageError("there is nothing to compare: no result is there of more than one stack")
    document["votes"] = vote.find(document["results"], document["stacks"])
    infra = _infra(document["results"])
    return _finish(args, document, [*problems, *infra], bool(problems or (ran and infra)))


def _is_stack(word: str) -> bool:
    if word.endswith(".json"):
        return False
    try:
        stacks.parse(word)
    except UsageError:
        if not Path(word).is_file():
            raise UsageError(f"{word}: neither a report nor a stack (see --help)") from None
        return False
    return True


def _check_filters(args: argparse.Namespace) -> None:
    """What would be ignored without a word is a mistake."""
    for name in (*settings.LISTS, *settings.VALUES):
        if name not in _FILTERS and getattr(args, name):
            raise UsageError(f"--{name.replace('_', '-')} is for stacks that are to be run; these are reports")


def _read(path: Path) -> Document:
    try:
        document = json.loads(path.read_text())
        keys = {"results", "stacks", "boots", "logs", "summary", "warnings", "notes"}
        whole = document["schema"] == SCHEMA and keys <= set(document)
    except OSError as e:
        raise UsageError(f"{path}: {e.strerror}") from e
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise UsageError(f"{path}: not a report that --json wrote")
    return dict(document)


def _filtered(document: Document, args: argparse.Namespace) -> Document:
    archs, cpus = settings.parse_archs(args.arch), settings.parse_cpus(args.cpus)
    tests = settings.words(args.test)
    masks: set[str] = set()
    if args.opt:
        default = settings.Settings()
        table = OptionTable.load((replace(default, build=Path(args.build_dir)) if args.build_dir else default).tables)
        masks = {f"0x{table.parse(word):04x}" for word in settings.words(args.opt)}

    def wanted(row: Row) -> bool:
        if (archs and row["arch"] not in archs) or (cpus and row["cpus"] not in cpus):
            return False
        if not (masks or tests):
            return True
        test = row["test"] or ""
        names = (test, test.rpartition("/")[2])
        return row["opt"] in masks or (test != "" and any(fnmatchcase(n, glob) for n in names for glob in tests))

    return document | {"results": [row for row in document["results"] if wanted(row)]}


def _run(args: argparse.Namespace, names: list[str]) -> tuple[list[Source], list[str]]:
    args.stack = names
    if not (args.cpu_model or args.bochs):
        args.cpu_model = [MODELS[0]]  # one stack for each name
    wanted = cli_args.settings_of(args)
    cli_args.parse_jobs(args.jobs)
    if not args.no_build:
        build.make(wanted)
    cases = plugin.cases_for(wanted)
    cli.check_stacks(wanted)
    runner = Runner(args, wanted, cases)
    with os.fdopen(os.dup(2), "w") as err:
        live = LiveDisplay(err, len(cases)) if err.isatty() else None
        runner.run(KtapWriter(lambda text: None, len(cases)), live)
    return [Source("run", runner.collector.document())], runner.problems


def _paths(document: Document) -> Counter[str]:
    """Of how many stacks each result is there."""
    return Counter(path_of(row) for row in document["results"])


def _infra(results: Iterable[Row]) -> list[str]:
    """Once for each stack and reason."""
    found = Counter(f"{r['stack']}: {clean(r['reason'])}" for r in results if r["verdict"] == Verdict.INFRA.name)
    return [f"{text} ({n} results)" for text, n in found.items()]


def _finish(args: argparse.Namespace, document: Document, problems: list[str], broken: bool) -> int:
    found = document["votes"]
    code = EXIT_UNEXPECTED if found else EXIT_ENVIRONMENT if broken else EXIT_OK
    if document["summary"]["interrupted"]:
        code = EXIT_INTERRUPTED
    groups = vote.group(found)
    summary = _summary(document, code)
    _print(groups, [*document["notes"], *vote.caveats(document["stacks"]), *_lines(summary, document)], sys.stdout)
    for text in [*problems, *document["warnings"]]:
        print(f"run_tests.py: {text}", file=sys.stderr)
    if args.json:
        write_json(_data(document, summary), args.json)
    if args.html:
        html.write(document, args.html)
    return code


def _summary(document: Document, code: int) -> Row:
    found, counts = document["votes"], _paths(document)
    disagree = [d for d in found if d["disagree"]]
    return {
        "compared": sum(n > 1 for n in counts.values()), "alone": sum(n == 1 for n in counts.values()), "differ": len(found),
        "disagree": len(disagree), "ties": sum(d["majority"] is None for d in disagree),
        "unexpected": sum(not d["expected"] for d in found),
        "wrong": dict(Counter(name for d in disagree for name in d["wrong"])),
        "exit": code, "interrupted": document["summary"]["interrupted"],
    }  # fmt: skip


def _lines(summary: Row, document: Document) -> list[str]:
    everyone = dict.fromkeys(r["stack"] for r in document["results"])
    lines = [f"{summary['compared']} results of {len(everyone)} stacks compared: {', '.join(everyone)}"]
    if summary["alone"]:
        lines.append(f"{summary['alone']} results are there of one stack only")
    if not summary["differ"]:
        return [*lines, "no verdict differs"]
    lines.append(
        f"{summary['differ']} differ, {summary['unexpected']} of them unexpected; "
        f"in {summary['disagree']} stacks disagree, {summary['ties']} of these are ties"
    )
    if summary["wrong"]:
        lines.append("wrong: " + ", ".join(f"{name} in {n}" for name, n in summary["wrong"].items()))
    return lines


def _print(groups: Sequence[Row], last: Sequence[str], out: TextIO) -> None:
    text = io.StringIO()
    if out.isatty():
        console = Console(file=text, force_terminal=True, width=shutil.get_terminal_size().columns)
        for table in votes.tables(groups):
            console.print(table)
    else:
        text.writelines(f"{line}\n" for line in votes.text_lines(groups))
    text.writelines(f"{line}\n" for line in last)
    try:
        out.write(text.getvalue())
        out.flush()
    except BrokenPipeError:  # the reader has seen enough; the exit code counts nevertheless
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


def _data(document: Document, summary: Row) -> dict[str, Any]:
    return {
        "schema": SCHEMA, "stacks": document["stacks"], "votes": document["votes"], "caveats": vote.caveats(document["stacks"]),
        "summary": summary, "warnings": document["warnings"], "notes": document["notes"],
    }  # fmt: skip
