# SPDX-License-Identifier: BSD-2-Clause
"""run_tests.py: from options to a pytest run, from its results to reports and an exit code (docs/harness.md)."""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from io import FileIO
from pathlib import Path
from types import FrameType
from typing import TextIO

from harness import build, bundle, cli_args, layers, listing, plan, plugin, rules
from harness.errors import EnvironmentProblem, UsageError
from harness.plan import Case
from harness.report import collect, differences, html, junit
from harness.report.collect import Collector
from harness.report.ktap import KtapWriter, clean
from harness.report.live import LiveDisplay
from harness.rows import EXIT_ENVIRONMENT, EXIT_INTERRUPTED, EXIT_SKIPPED, EXIT_USAGE, stack_text, summary
from harness.runner import Runner
from harness.settings import Settings
from harness.verdicts import Outcome, Verdict


def main(argv: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, _terminate)
    try:
        if argv and argv[0] in cli_args.COMMANDS:
            # Most runs need nothing of these.
            return int(importlib.import_module(f"harness.{argv[0]}").main(argv[1:]))
        return _main(cli_args.parser().parse_args(argv))
    except UsageError as e:
        return _say(EXIT_USAGE, str(e))
    except EnvironmentProblem as e:
        return _say(EXIT_ENVIRONMENT, str(e))
    except OSError as e:
        return _say(EXIT_ENVIRONMENT, f"{e.filename or 'output'}: {e.strerror or e}")
    except KeyboardInterrupt:
        return _say(EXIT_INTERRUPTED, "interrupted")


def _terminate(number: int, frame: FrameType | None) -> None:
    """A polite kill is an interrupt: emulators are ended, reports say what is known."""
    raise KeyboardInterrupt


def _say(code: int, text: str) -> int:
    print(f"run_tests.py: {text}", file=sys.stderr)
    return code


def _main(args: argparse.Namespace) -> int:
    settings = cli_args.settings_of(args)
    if args.json_in and not args.rules:
        raise UsageError("--json-in is for --rules")
    cli_args.parse_jobs(args.jobs)
    for path in (args.json, args.junit, args.html):
        if path:
            check_writable(path)
    # Somebody else's L1 needs nothing that we build, unless it is our VMM.
    if not args.no_build and (not settings.l1 or any(stack.kvm for stack in settings.stack_list())):
        build.make(settings)
    if args.rules:
        return rules.run(settings, args.json_in, args.json, sys.stdout)
    if args.bundle:
        return bundle.make(args.bundle, Path(args.bundle_dir), settings)
    cases = plugin.cases_for(settings)
    if args.list:
        listing.write(cases, settings, sys.stdout)
        return 0
    check_stacks(settings)
    if not cases:
        notes = [] if settings.l1 else plan.not_planned(settings)
        return _say(EXIT_SKIPPED, "; ".join(["nothing is selected in this part", *notes]))
    return _run(args, settings, cases)


def check_writable(path: Path) -> None:
    """Better now than after the run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab"):
        pass


def check_stacks(settings: Settings) -> None:
    """A model that doesn't exist is the user's mistake; an engine that isn't here becomes INFRA, with its ids."""
    for stack in settings.stack_list():
        try:
            layers.find(stack, settings)
        except EnvironmentProblem:
            continue


def _run(args: argparse.Namespace, settings: Settings, cases: Sequence[Case]) -> int:
    runner = Runner(args, settings, cases)
    collector = runner.collector
    # pytest takes hold of the descriptors; what we say goes past it.
    with os.fdopen(os.dup(1), "wb", buffering=0) as out, os.fdopen(os.dup(2), "w") as err:
        live = LiveDisplay(err, len(cases)) if err.isatty() else None
        write: Callable[[str], object] = functools.partial(_write_all, out)
        if live and out.isatty():
            write = live.above
        ktap = KtapWriter(write, len(runner.cases), verbose=args.verbose)
        for note in collector.notes:
            ktap.comment(note)
        runner.run(ktap, live)
        return _finish(args, runner, ktap, err)


def _write_all(out: FileIO, text: str) -> None:
    data = text.encode()
    while data:
        data = data[out.write(data) :]


def _finish(args: argparse.Namespace, runner: Runner, ktap: KtapWriter, err: TextIO) -> int:
    collector = runner.collector
    code = EXIT_INTERRUPTED if collector.interrupted else collector.exit_code()
    if runner.problems and code == 0:
        code = EXIT_ENVIRONMENT
    for text in differences.text_lines(differences.find(collector.rows)):
        ktap.comment(text[: len(text) - len(text.lstrip())] + clean(text))
    for text in summary_lines(collector, code):
        ktap.comment(text)
    for text in [*runner.problems, *collector.warnings]:
        print(f"run_tests.py: {text}", file=err)
    return write_reports(args, collector, code, err)


def write_reports(args: argparse.Namespace, collector: Collector, code: int, err: TextIO) -> int:
    document = collector.document()
    document["summary"]["exit"] = code
    writers = ((args.json, collect.write_json), (args.junit, junit.write), (args.html, html.write))
    for path, write in writers:
        if path is None:
            continue
        try:
            write(document, path)
        except OSError as e:
            if path.is_file():  # half a report could be taken for a whole one
                path.unlink()
            print(f"run_tests.py: {path}: {e.strerror}", file=err)
            code = code or EXIT_ENVIRONMENT
    return code


def summary_lines(collector: Collector, code: int) -> list[str]:
    counts = summary(collector.rows)
    verdicts = ", ".join(f"{n} {v}" for v, n in counts["verdicts"].items() if n)
    lines = [f"{counts['results']} results: {verdicts or 'none'}"]
    differences = {k: n for k, n in counts["outcomes"].items() if n and k != Outcome.OK.value}
    if differences:
        lines.append("of these " + ", ".join(f"{n} {k}" for k, n in differences.items()))
    for name, stack in collector.stacks.items():
        lines.append(f"{name}: {stack_text(stack)}")
    infra = {r["reason"] for r in collector.rows if r["verdict"] == Verdict.INFRA.name}
    lines += [f"environment: {reason}" for reason in sorted(infra)]
    cpu = sum(b["cpu_seconds"] for b in collector.boots.values())
    lines.append(f"{len(collector.boots)} boots, {cpu:.1f} s of CPU time in emulators; exit {code}")
    return lines
