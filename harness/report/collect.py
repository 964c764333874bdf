# SPDX-License-Identifier: BSD-2-Clause
"""Gathers what comes back from the items, in any order, into one document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import plan
from harness.plan import Case
from harness.report import differences
from harness.rows import Payload, Row, exit_code, infra_rows, summary
from harness.settings import Settings

SCHEMA = 1


class Collector:
    def __init__(self, cases: Sequence[Case], settings: Settings):
        self.cases = {c.id: c for c in cases}
        self._settings = settings
        self._rows: dict[str, list[Row]] = {}  # by case
        self.stacks: dict[str, Row] = {}
        self.boots: dict[str, Row] = {}
        self.logs: dict[str, str] = {}
        self.warnings: list[str] = []
        self.notes = [] if settings.l1 else plan.not_planned(settings)
        if settings.shuffle:
            self.notes.append(f"masks and tests ran in the order of --shuffle {settings.shuffle}")
        self.interrupted = False

    def add(self, case_id: str, payload: Payload) -> list[Row]:
        """The rows that are new."""
        if case_id in self._rows:
            return []
        self._rows[case_id] = payload["rows"]
        self.boots.update(payload["boots"])
        self.logs.update(payload["logs"])
        for name, stack in payload["stacks"].items():
            if self.stacks.setdefault(name, stack) != stack:
                self._warn(f"{name} isn't the same on all hosts: {self.stacks[name]} and {stack}")
        return self._rows[case_id]

    def add_trouble(self, case_id: str, reason: str) -> list[Row]:
        """An item that ended without results: the harness' own failure, never silence."""
        rows = infra_rows(self.cases[case_id], reason, self._settings)
        return self.add(case_id, {"rows": rows, "stacks": {}, "boots": {}, "logs": {}})

    def missing(self) -> list[str]:
        return [c for c in self.cases if c not in self._rows]

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    @property
    def rows(self) -> list[Row]:
        """In the order of the plan, whatever the order in which they came."""
        return [row for case in self.cases for row in self._rows.get(case, [])]

    def exit_code(self) -> int:
        return exit_code(self.rows)

    def document(self) -> dict[str, Any]:
        rows = self.rows
        return {
            "schema": SCHEMA,
            "stacks": self.stacks,
            "results": rows,
            "differences": differences.find(rows),
            "summary": {**summary(rows), "exit": self.exit_code(), "interrupted": self.interrupted},
            "boots": self.boots,
            "logs": self.logs,
            "warnings": self.warnings,
            "notes": self.notes,
        }


def write_json(document: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n")
