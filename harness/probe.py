# SPDX-License-Identifier: BSD-2-Clause
"""Single questions to stacks: what does this item give there? Each answer is a real run's; none is asked for twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.cases import Item
from harness.errors import EnvironmentProblem
from harness.lab import Lab
from harness.plan import Case, Machine
from harness.rows import Row
from harness.settings import Settings
from harness.stacks import Stack
from harness.verdicts import Verdict


@dataclass(frozen=True)
class Words:
    """How lhv is told to run an item."""

    arch: str
    cpus: int
    iterations: int = 0  # 0: lhv's own default
    seed: int = 1


class Prober:
    def __init__(self, settings: Settings):
        self._settings = settings
        self._seen: dict[tuple[Stack, Words, str], list[Row]] = {}
        self.boots: dict[str, int] = {}  # by stack

    def ask(self, stack: Stack, words: Words, items: Sequence[Item], *, fresh: bool = False) -> list[list[Row]]:
        """Results by item. Those that aren't known yet are run in one boot, if the machine survives them; so what comes first
        may change what comes later. fresh: known or not. Raises EnvironmentProblem."""
        missing = [i for i in items if fresh or (stack, words, i.id) not in self._seen]
        for item, rows in zip(missing, self._run(stack, words, missing)):
            self._seen[stack, words, item.id] = rows
        return [self._seen[stack, words, i.id] for i in items]

    def _run(self, stack: Stack, words: Words, items: Sequence[Item]) -> list[list[Row]]:
        machine = Machine(stack, words.arch, words.cpus)
        # The same group as in a run of these items alone, so that the run's token is the same.
        cases = [Case(machine, item, f"{machine.name}/0") for item in items]
        lab = Lab(replace(self._settings, iterations=words.iterations, seed=words.seed), cases)
        payloads = [lab.run(case) for case in cases]
        boots = {id for payload in payloads for id in payload["boots"]}
        self.boots[stack.name] = self.boots.get(stack.name, 0) + len(boots)
        for row in (row for payload in payloads for row in payload["rows"]):
            if row["verdict"] == Verdict.INFRA.name:
                raise EnvironmentProblem(f"{stack.name}: {row['reason']}")
        return [payload["rows"] for payload in payloads]


def result_of(row: Row) -> str:
    """BIT/cpuC of a mask, empty for a test: what is left of the id without the item's."""
    return str(row["id"]).removeprefix(row["item"]).removeprefix("/")
