# SPDX-License-Identifier: BSD-2-Clause
"""run_tests.py minimize: the least that still shows a difference between two stacks (docs/harness.md, "Making it small")."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness import build, cli, cli_args, ids, reasons, repeat, shrink, stacks
from harness.cases import Item, mask_item
from harness.errors import UsageError
from harness.ids import Id
from harness.options import OptionTable
from harness.probe import Prober, Words, result_of
from harness.provision import FIXED
from harness.report.ktap import clean
from harness.rows import EXIT_OK, EXIT_SKIPPED, EXIT_UNEXPECTED, Row
from harness.settings import Settings
from harness.stacks import Stack
from harness.verdicts import Verdict

EXIT_NO_DIFFERENCE = EXIT_SKIPPED
_EPILOG = """exit codes: 0 done, 1 the last run, of the least alone, doesn't show it again, 2 usage, 3 environment, 4 nothing differs in the
first place, 130 interrupted. Everything else: docs/harness.md."""
_ITERATIONS = 20  # lhv's default
# A machine that dies of one mask says nothing of the next: those wait for a boot of their own.
_DEADLY = {v.name for v in (Verdict.TIMEOUT, Verdict.CRASH, Verdict.SILENT)}
# What the id or the search itself decides.
_WITHOUT = (
    "stack", "cpu_model", "arch", "cpus", "opt", "test", "shard", "l1", "append", "expect", "reject", "dump", "l1_boot",
)  # fmt: skip


def parser() -> argparse.ArgumentParser:
    p = cli_args.Parser(
        "run_tests.py minimize",
        description="Finds the smallest mask, number of CPUs and of iterations that still show a difference between two stacks.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    p.add_argument("id", metavar="ID", help="of a result or an item, as in reports, of any stack")
    p.add_argument("--stack", dest="bad", metavar="S", help="the stack that isn't GOOD; default: the id's")
    p.add_argument("--against", metavar="T", help="the stack that is; default: the one below S, of KVM our build of Bochs")
    cli_args.add_selection(p, _WITHOUT)
    cli_args.add_no_build(p.add_argument_group("how"))
    return p


@dataclass(frozen=True)
class Failure:
    """What must be seen again: the verdict, and the reason but for numbers."""

    verdict: str
    kind: str


@dataclass(frozen=True)
class Trial:
    words: Words
    item: Item


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)
    id = ids.parse(args.id, "minimize")
    bad = stacks.parse(args.bad or id.stack)
    good = stacks.parse(args.against) if args.against else _below(bad)
    if good is None:
        raise UsageError(f"nothing is below {bad.name}: --against which stack?")
    if good == bad:
        raise UsageError(f"--against {good.name}: that is the same stack")
    args.stack = [good.name, bad.name]
    wanted = cli_args.settings_of(args)
    for stack in (good, bad):
        if not stack.runs(id.arch):
            raise UsageError(f"{stack.name} doesn't run {id.arch}")
    if not args.no_build:
        build.make(wanted)
    cli.check_stacks(wanted)
    item = ids.item_of(id, wanted, "minimize")
    return Search(good, bad, id, item, wanted, repeat.passed_on(args, _WITHOUT)).run()


def _below(bad: Stack) -> Stack | None:
    """KVM runs on our build of Bochs if no other is asked for: this one is below it."""
    good = bad.below
    return replace(good, version=FIXED) if good and bad.kvm and not bad.version else good


class Search:
    def __init__(self, good: Stack, bad: Stack, id: Id, item: Item, wanted: Settings, options: list[str]):
        self._good, self._bad, self._id = good, bad, id
        self._table = OptionTable.load(wanted.tables)
        self._settings, self._options = wanted, options
        self._start = Trial(Words(id.arch, id.cpus, wanted.iterations, wanted.seed), item)
        self._prober = Prober(wanted)
        self._together = True
        self._failure = Failure("", "")
        self._told: set[Trial] = set()

    def run(self) -> int:
        print(f"{self._bad.name} against {self._good.name}: {self._about(self._start)}", flush=True)
        first = self._first()
        if first is None:
            return EXIT_NO_DIFFERENCE
        self._failure = _failure_of(first)
        print(f"  {first['verdict']} {_told(first)}", flush=True)
        for together in (True, False):
            self._together = together
            least = self._shrink()
            print(f"alone: {self._about(least)}", flush=True)
            row = self._shown(least, *self._ask(least, fresh=True))
            if row is not None:
                return self._tell(least, row)
            print("  not seen again; from the start, each in a boot of its own" if together else "  not seen again", flush=True)
            self._prober, self._told = Prober(self._settings), set()
        print("what is shown depends on more than mask, CPUs and iterations")
        return EXIT_UNEXPECTED

    def _first(self) -> Row | None:
        """The result that it's about; None: nothing differs, which is told."""
        bad, good = self._ask(self._start)
        by_result = {result_of(row): row for row in good}
        wanted = [row for row in bad if self._id.result in ("", result_of(row))]
        if not wanted:
            raise UsageError(f"minimize: {self._about(self._start)} has no result {self._id.result}")
        found = [row for row in wanted if _fails(row) and by_result[result_of(row)]["verdict"] == Verdict.GOOD.name]
        if found:
            return max(found, key=lambda row: Verdict[row["verdict"]].value)
        for stack, rows in ((self._bad, bad), (self._good, [by_result[result_of(row)] for row in wanted])):
            worst = max(rows, key=lambda row: Verdict[row["verdict"]].value)
            print(f"  {stack.name}: {worst['verdict']} {_told(worst)}".rstrip())
        print(f"nothing differs, run alone, in that {self._bad.name} fails and {self._good.name} is GOOD")
        return None

    def _shrink(self) -> Trial:
        least = self._fewer_cpus(self._start)
        if self._id.item.startswith("opt/"):
            mask = shrink.smallest_mask(least.item.mask, self._table, lambda masks: self._first_mask(least, masks))
            least = self._fewer_cpus(Trial(least.words, mask_item(mask, self._table)))
            least = self._fewer_iterations(least)
        if least.words.seed != 1 and self._shows(usual := self._with(least, seed=1)):
            least = usual
        return least

    def _fewer_cpus(self, trial: Trial) -> Trial:
        for cpus in range(1, trial.words.cpus):
            if self._shows(fewer := self._with(trial, cpus=cpus)):
                return fewer
        return trial

    def _fewer_iterations(self, trial: Trial) -> Trial:
        """lhv says in which it was first seen."""
        row = self._shown(trial, *self._ask(trial))
        seen = [int(f["iter"], 0) + 1 for f in (row["fails"] if row else []) if f.get("iter", "").isdigit()][:1]
        most = trial.words.iterations or _ITERATIONS
        hints = [n for least in seen for n in (least, least - 1)]
        count = shrink.smallest_number(most, lambda n: self._shows(self._with(trial, iterations=n)), hints)
        return trial if count == most else self._with(trial, iterations=count)

    @staticmethod
    def _with(trial: Trial, **words: int) -> Trial:
        return replace(trial, words=replace(trial.words, **words))

    def _first_mask(self, trial: Trial, masks: Sequence[int]) -> int | None:
        trials = [replace(trial, item=mask_item(mask, self._table)) for mask in masks]
        if self._together and self._failure.verdict not in _DEADLY and trials:
            self._prober.ask(self._bad, trial.words, [t.item for t in trials])
        return next((t.item.mask for t in trials if self._shows(t)), None)

    def _shows(self, trial: Trial) -> bool:
        """Tells of it, too."""
        (bad,) = self._prober.ask(self._bad, trial.words, [trial.item])
        row = next((r for r in bad if _failure_of(r) == self._failure), None)
        if row is None:
            worst = max(bad, key=lambda r: Verdict[r["verdict"]].value)
            text = f"not of the kind: {worst['verdict']} {_told(worst)}" if _fails(worst) else worst["verdict"]
        else:
            row = self._shown(trial, *self._ask(trial))
            text = row["verdict"] if row else f"{self._good.name} isn't GOOD"
        if trial not in self._told:
            print(f"{self._about(trial)}: {text}", flush=True)
        self._told.add(trial)
        return row is not None

    def _ask(self, trial: Trial, *, fresh: bool = False) -> list[list[Row]]:
        both = (self._bad, self._good)
        return [self._prober.ask(stack, trial.words, [trial.item], fresh=fresh)[0] for stack in both]

    def _shown(self, trial: Trial, bad: list[Row], good: list[Row]) -> Row | None:
        """The result that shows it: for the same words the other stack is GOOD, and nowhere fails in this way."""
        if any(_failure_of(row) == self._failure for row in good):
            return None
        fine = {result_of(row) for row in good if row["verdict"] == Verdict.GOOD.name}
        return next((r for r in bad if _failure_of(r) == self._failure and result_of(r) in fine), None)

    def _about(self, trial: Trial) -> str:
        words = trial.words
        mask = f" ({self._table.name(trial.item.mask)})" if trial.item.per_cpu else ""
        out = [f"{words.arch}/{words.cpus}cpu/{trial.item.id}{mask}"]
        if trial.item.per_cpu:
            count = words.iterations or _ITERATIONS
            out.append(f"{count} iteration{'s' if count != 1 else ''}")
        return ", ".join([*out, f"seed {words.seed}"] if words.seed != 1 else out)

    def _tell(self, least: Trial, row: Row) -> int:
        print(f"  {row['verdict']} {_told(row)}")
        boots = ", ".join(f"{n} of {stack}" for stack, n in self._prober.boots.items())
        print(f"boots: {boots}")
        both = (self._good, self._bad)
        print(f"repeat: {repeat.run_command(both, least.words, least.item, self._options)}")
        print(f"bundle: {repeat.bundle_command(self._bad, least.words, least.item, self._options)}")
        return EXIT_OK


def _fails(row: Row) -> bool:
    """To skip is no deviation."""
    return row["verdict"] not in (Verdict.GOOD.name, Verdict.SKIP.name)


def _failure_of(row: Row) -> Failure:
    return Failure(row["verdict"], reasons.kind(row["reason"]))


def _told(row: Row) -> str:
    return " ".join(text for text in (result_of(row), clean(row["reason"])) if text)
