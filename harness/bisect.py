# SPDX-License-Identifier: BSD-2-Clause
"""run_tests.py bisect: the first of several hosts on which a verdict changes (docs/harness.md, "Since when")."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from harness import build, cli_args, halving, hosts, ids, repeat, stacks
from harness.cases import Item
from harness.errors import EnvironmentProblem, UsageError
from harness.hosts import Hosts
from harness.ids import Id
from harness.probe import Prober, Words, result_of
from harness.report.ktap import clean
from harness.rows import EXIT_ENVIRONMENT, EXIT_OK, EXIT_SKIPPED, Row
from harness.settings import Settings
from harness.stacks import Stack
from harness.verdicts import Verdict

EXIT_NO_CHANGE = EXIT_SKIPPED
_EPILOG = """exit codes: 0 found, 2 usage, 3 environment, 4 both ends are alike, or skip, 130 interrupted. Everything else: docs/harness.md."""
# What the id or the list of hosts decides.
_WITHOUT = (
    "stack", "cpu_model", "arch", "cpus", "opt", "test", "shard", "l1", "append", "expect", "reject", "dump", "l1_boot",
)  # fmt: skip
# Nothing is said about the host.
_UNJUDGED = (Verdict.SKIP, Verdict.INFRA)


def parser() -> argparse.ArgumentParser:
    p = cli_args.Parser(
        "run_tests.py bisect",
        description="Finds the first of several hosts on which the verdict isn't that of the first host any more.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    p.add_argument("id", metavar="ID", help="of a result or an item, as in reports")
    p.add_argument(
        "--over", required=True, metavar="LIST",
        help="the hosts, in order: bochs=PATH,PATH,... or kernel=LINE[:FROM..TO], Debian's versions of that line of kernels",
    )  # fmt: skip
    p.add_argument("--stack", dest="on", metavar="S", help="the stack to ask; default: the id's")
    cli_args.add_selection(p, _WITHOUT)
    cli_args.add_no_build(p.add_argument_group("how"))
    return p


@dataclass(frozen=True)
class Answer:
    verdict: Verdict
    reason: str

    @property
    def judged(self) -> bool:
        return self.verdict not in _UNJUDGED

    def __str__(self) -> str:
        return f"{self.verdict.name} {clean(self.reason)}".strip()


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)
    id = ids.parse(args.id, "bisect")
    wanted_stack = stacks.parse(args.on or id.stack)
    for name in ("bochs", "kernel_version"):
        if getattr(args, name) and args.over.startswith(name.partition("_")[0]):
            raise UsageError(f"--{name.replace('_', '-')}: --over is about that")
    listed = hosts.parse(args.over)
    stack = listed.stack(wanted_stack)
    if not stack.runs(id.arch):
        raise UsageError(f"{stack.name} doesn't run {id.arch}")
    if stack.engine != "bochs":
        raise UsageError(f"{stack.name}: what can be searched is Bochs, and kernels in Bochs")
    args.stack = [stack.name]
    wanted = cli_args.settings_of(args)
    if not args.no_build:
        build.make(wanted)
    item = ids.item_of(id, wanted, "bisect")
    return Search(listed, stack, id, item, wanted, repeat.passed_on(args, _WITHOUT)).run()


class Search:
    def __init__(self, listed: Hosts, stack: Stack, id: Id, item: Item, wanted: Settings, options: list[str]):
        self._hosts, self._stack, self._id, self._item = listed, stack, id, item
        self._settings, self._options = wanted, options
        self._words = Words(id.arch, id.cpus, wanted.iterations, wanted.seed)
        self._answers: dict[int, Answer] = {}

    def run(self) -> int:
        names = self._hosts.names
        result = f"/{self._id.result}" if self._id.result else ""
        print(f"{self._stack.name}/{self._id.arch}/{self._id.cpus}cpu/{self._id.item}{result} over {len(names)} hosts", flush=True)
        last = len(names) - 1
        first, other = (self._ask(n) for n in (0, last))
        if any(not answer.judged for answer in (first, other)):
            print("one of the ends can't be judged: nothing to search between")
            return EXIT_ENVIRONMENT if Verdict.INFRA in (first.verdict, other.verdict) else EXIT_NO_CHANGE
        if first.verdict is other.verdict:
            print(f"nothing changes: both ends are {first.verdict.name}")
            return EXIT_NO_CHANGE
        return self._tell(halving.find(len(names), lambda n: self._changed(n, first)))

    def _changed(self, number: int, first: Answer) -> bool | None:
        answer = self._ask(number)
        return answer.verdict is not first.verdict if answer.judged else None

    def _ask(self, number: int) -> Answer:
        name = self._hosts.names[number]
        try:
            prober = Prober(self._hosts.settings(name, self._settings))
            (rows,) = prober.ask(self._stack, self._words, [self._item])
            answer = self._answer(rows)
        except EnvironmentProblem as e:
            answer = Answer(Verdict.INFRA, str(e))
        self._answers[number] = answer
        aside = "" if answer.judged else "; stepped around"
        print(f"  {self._about(number)}{aside}", flush=True)
        return answer

    def _answer(self, rows: Sequence[Row]) -> Answer:
        """Of an item, the worst; what one bit lacks says nothing of the others."""
        own = [row for row in rows if self._id.result in ("", result_of(row))]
        if not own:
            raise UsageError(f"bisect: {self._item.id} has no result {self._id.result}")
        told = [row for row in own if row["verdict"] != Verdict.SKIP.name] or own
        worst = max(told, key=lambda row: Verdict[row["verdict"]].value)
        return Answer(Verdict[worst["verdict"]], worst["reason"])

    def _about(self, number: int) -> str:
        return f"{number + 1} of {len(self._hosts.names)}, {self._hosts.names[number]}: {self._answers[number]}"

    def _tell(self, change: halving.Change) -> int:
        if change.unjudged:
            print("it changes somewhere between, for these can't be judged: " + ", ".join(self._hosts.names[n] for n in change.unjudged))
        print(f"last as at the beginning: {self._about(change.before)}")
        print(f"first that isn't: {self._about(change.after)}")
        for number in (change.before, change.after):
            options = [*self._hosts.options(self._hosts.names[number]), *self._options]
            print(f"repeat: {repeat.run_command([self._stack], self._words, self._item, options)}")
        return EXIT_OK
