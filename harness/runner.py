# SPDX-License-Identifier: BSD-2-Clause
"""Runs cases by pytest, in this process or in its workers: all results end in a Collector, whatever goes wrong."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import pytest

from harness import cli_args, plugin
from harness.engines.base import last_words
from harness.plan import Case
from harness.report.collect import Collector
from harness.report.ktap import KtapWriter
from harness.report.live import LiveDisplay
from harness.reporter import Reporter
from harness.settings import ROOT, Settings


class Runner:
    def __init__(self, args: argparse.Namespace, settings: Settings, cases: Sequence[Case]):
        self._args = args
        self._specs, self._splits = cli_args.workers(args.jobs, cases)
        if self._splits > 1:
            cases = plugin.cases_for(cli_args.settings_of(args, self._splits))
        self.cases = cases
        self.collector = Collector(cases, settings)
        self.problems: list[str] = []  # of pytest or its workers

    def run(self, ktap: KtapWriter, live: LiveDisplay | None) -> None:
        reporter = Reporter(self.collector, ktap, live)
        if live:
            live.start()
        try:
            status = self._pytest(reporter)
        finally:
            if live:
                live.stop()
        self.problems = reporter.problems
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED):
            self.problems.append(f"pytest ended with {status}")
        if not self.collector.interrupted:
            for case in self.collector.missing():
                why = last_words(self.problems[0]) if self.problems else "no worker ran it"
                ktap.item(self.collector.add_trouble(case, f"not run: {why}"))

    def _pytest(self, reporter: Reporter) -> int:
        words = [
            str(ROOT / "harness" / "test_boot.py"), "-p", "no:terminal", "-p", "no:cacheprovider",
            *cli_args.xdist_options(self._specs), *cli_args.pytest_options(self._args, self._splits),
        ]  # fmt: skip
        return int(pytest.main(words, plugins=[reporter]))
