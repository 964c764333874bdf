# SPDX-License-Identifier: BSD-2-Clause
"""Shows the VMCS dumps of a serial log, or the fields in which two dumps differ.

One log: its dumps, a line each; with --show N the N-th, whole. Two logs (or one with --with M): the differences.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.wire import LineReader

MISSING = "-"


@dataclass
class Dump:
    after: str  # the item that was running
    cpu: str
    tag: str
    values: dict[str, str] = field(default_factory=dict)  # in the order of the encodings


def read(data: bytes) -> list[Dump]:
    """All dumps of a log. Lines of several CPUs may be mixed; a field that comes again starts a new dump."""
    dumps: list[Dump] = []
    last: dict[str, Dump] = {}
    item = ""
    for line in LineReader().feed(data):
        if line.kind == "start":
            item = line.fields.get("id", "")
        if line.kind != "vmcs":
            continue
        values = dict(line.fields)
        cpu, tag = values.pop("cpu", ""), values.pop("tag", "")
        dump = last.get(cpu)
        if dump is None or (dump.after, dump.tag) != (item, tag) or values.keys() & dump.values.keys():
            dump = last[cpu] = Dump(item, cpu, tag)
            dumps.append(dump)
        dump.values.update(values)
    return dumps


def differences(a: Mapping[str, str], b: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Field, value in a, value in b, where they aren't equal; a field that one of them lacks is '-' there."""
    names = list(a) + [name for name in b if name not in a]
    pairs = ((name, a.get(name, MISSING), b.get(name, MISSING)) for name in names)
    return [(name, x, y) for name, x, y in pairs if x != y]


def _pick(dumps: list[Dump], number: int, log: str) -> Dump:
    try:
        return dumps[number - 1] if number > 0 else dumps[-1]
    except IndexError:
        raise SystemExit(f"{log} has {len(dumps)} dumps; there is no number {number or 'one'}") from None


def _load(path: str) -> list[Dump]:
    try:
        return read(Path(path).read_bytes())
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror}") from None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m harness.dumps", description=__doc__)
    parser.add_argument("log", help="com1.log, from run_tests.py --keep")
    parser.add_argument("other", nargs="?", help="the log with the second dump")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="the dump of the first log (default: the last)")
    parser.add_argument("--with", type=int, default=0, dest="second", metavar="M", help="the second dump (default: the last)")
    args = parser.parse_args()
    dumps = _load(args.log)
    if args.other or args.second:
        first = _pick(dumps, args.show, args.log)
        second = _pick(_load(args.other) if args.other else dumps, args.second, args.other or args.log)
        for name, x, y in differences(first.values, second.values):
            print(f"{name:45} {x:>18} {y:>18}")
    elif args.show:
        for name, value in _pick(dumps, args.show, args.log).values.items():
            print(f"{name:45} {value:>18}")
    else:
        for number, dump in enumerate(dumps, 1):
            print(f"{number:4}  cpu {dump.cpu}  {dump.tag:6} {len(dump.values):4} fields  {dump.after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
