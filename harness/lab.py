# SPDX-License-Identifier: BSD-2-Clause
"""Runs the selected cases: the first case of a group boots all of the group's, the others find their results there."""

from __future__ import annotations

from collections.abc import Sequence

from harness import expectations, l1, layers
from harness.engines import Engine
from harness.errors import EnvironmentProblem, UsageError
from harness.plan import Case
from harness.rows import Payload, boot_row, infra_rows, item_rows, stack_row
from harness.session import GroupRun, run_group
from harness.settings import Settings
from harness.stacks import Stack


class Lab:
    def __init__(self, settings: Settings, selected: Sequence[Case]):
        self._settings = settings
        self._selected = selected
        self._groups: dict[str, GroupRun] = {}
        self._engines: dict[Stack, Engine] = {}

    def run(self, case: Case) -> Payload:
        """Plain data; see rows.py."""
        stack = case.machine.stack
        try:
            engine = self._engine(stack)
            data = expectations.NONE
            if not self._settings.l1:
                data = expectations.of_stack(engine.name, engine.version, stack.layers)
                if stack.kvm and self._settings.l0_params:
                    data = data.below_unknown()  # the data is about KVM as it comes
            group = self._group(case, engine)
        except (EnvironmentProblem, UsageError) as e:
            return {"rows": infra_rows(case, str(e), self._settings), "stacks": {}, "boots": {}, "logs": {}}
        run = group.items[case.item.id]
        boots, boot_id = {}, ""
        if run.boot is not None:
            boot_id = f"{case.group}/{run.boot}"
            boots[boot_id] = boot_row(group.boots[run.boot], stack.name)
        rows = item_rows(case, run, data, self._settings, boot_id)
        return {
            "rows": [row | {"l0": engine.l0 or None} for row in rows],
            "stacks": {stack.name: stack_row(stack, engine, data)},
            "boots": boots,
            "logs": {case.id: run.log},
        }

    def _engine(self, stack: Stack) -> Engine:
        if stack not in self._engines:
            self._engines[stack] = layers.find(stack, self._settings)
        return self._engines[stack]

    def _group(self, case: Case, engine: Engine) -> GroupRun:
        if case.group not in self._groups:
            items = [c.item for c in self._selected if c.group == case.group]
            m = case.machine
            if self._settings.l1:
                self._groups[case.group] = l1.run(engine, case, self._settings)
            else:
                self._groups[case.group] = run_group(engine, m.arch, m.cpus, items, self._settings, case.group)
        return self._groups[case.group]
