# SPDX-License-Identifier: BSD-2-Clause
"""The pytest plugin that run_tests.py adds to its own process: it hears every item's end and tells of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from harness.report.collect import Collector
from harness.report.ktap import KtapWriter
from harness.report.live import LiveDisplay


def case_id(nodeid: str) -> str:
    """harness/test_boot.py::test_item[ID]@GROUP"""
    return nodeid[nodeid.find("[") + 1 : nodeid.rfind("]")]


class Reporter:
    def __init__(self, collector: Collector, ktap: KtapWriter, live: LiveDisplay | None):
        self._collector = collector
        self._ktap = ktap
        self._live = live
        self._left = Counter(c.machine.name for c in collector.cases.values())
        self.problems: list[str] = []  # of pytest or its workers

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        case = self._collector.cases.get(case_id(nodeid))
        if self._live and case:
            self._live.began(case.machine.name)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        case = self._collector.cases.get(case_id(report.nodeid))
        if case is None:
            self.problems.append(f"an item that wasn't planned: {report.nodeid}")
            return
        payload: Any = getattr(report, "lhv", None)
        if payload:
            rows = self._collector.add(case.id, payload)
        elif report.failed:
            rows = self._collector.add_trouble(case.id, f"the harness failed: {_last_line(report)}")
        else:
            return
        if rows:
            self._left[case.machine.name] -= 1
            self._ktap.item(rows)
            if self._live:
                self._live.item(case.machine.name, rows, not self._left[case.machine.name])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.problems.append(str(report.longrepr))

    def pytest_internalerror(self, excrepr: object) -> None:
        self.problems.append(str(excrepr))

    def pytest_keyboard_interrupt(self) -> None:
        self._collector.interrupted = True


def _last_line(report: pytest.TestReport) -> str:
    lines = [line for line in str(report.longrepr).splitlines() if line.strip()]
    return lines[-1].strip() if lines else report.outcome
