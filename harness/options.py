# SPDX-License-Identifier: BSD-2-Clause
"""lhv's option bits, as build/tables.json tells of them, and what masks are legal."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

from harness.errors import EnvironmentProblem, UsageError


@dataclass(frozen=True)
class Option:
    bit: int
    name: str
    requires: int
    conflicts: int
    text: str


def _number(value: object) -> int:
    return int(value, 0) if isinstance(value, str) else int(value)  # type: ignore[call-overload,no-any-return]


class OptionTable:
    def __init__(self, options: list[Option]):
        self.options = sorted(options, key=lambda o: o.bit)
        self.by_name = {o.name: o for o in self.options}
        self.all_bits = sum(o.bit for o in self.options)

    @classmethod
    def load(cls, path: Path) -> OptionTable:
        try:
            rows = json.loads(path.read_text())["options"]
            options = [
                Option(_number(r["bit"]), r["name"], _number(r["requires"]), _number(r["conflicts"]), r["text"])
                for r in rows
            ]
        except OSError as e:
            raise EnvironmentProblem(f"{path}: {e.strerror}; run `make build/tables.json`") from e
        except (ValueError, KeyError, TypeError) as e:
            raise EnvironmentProblem(f"{path}: not a table of options ({e!r})") from e
        return cls(options)

    def bits(self, mask: int) -> list[Option]:
        return [o for o in self.options if mask & o.bit]

    def name(self, mask: int) -> str:
        """`ept+vpid`; `none` for 0."""
        return "+".join(o.name for o in self.bits(mask)) or "none"

    def broken_rule(self, mask: int) -> str | None:
        """Says which rule the mask breaks; None if it is legal."""
        if mask & ~self.all_bits:
            return f"bit 0x{mask & ~self.all_bits:x} is not defined"
        for option in self.bits(mask):
            if missing := option.requires & ~mask:
                return f"{option.name} requires {self.name(missing)}"
            if clash := option.conflicts & mask:
                return f"{option.name} conflicts with {self.name(clash)}"
        return None

    def legal(self, mask: int) -> bool:
        return self.broken_rule(mask) is None

    def parse(self, word: str) -> int:
        """A mask: a number, or names joined by `+`. Raises UsageError, naming the rule."""
        try:
            mask = int(word, 0)
        except ValueError:
            mask = 0
            for name in word.split("+"):
                if name not in self.by_name:
                    known = ", ".join(self.by_name)
                    raise UsageError(f"--opt {word}: unknown option {name!r} (known: {known})") from None
                mask |= self.by_name[name].bit
        if mask < 0:
            raise UsageError(f"--opt {word}: a mask isn't negative")
        if rule := self.broken_rule(mask):
            raise UsageError(f"--opt {word}: illegal mask 0x{mask:04x}: {rule}")
        return mask

    def closure(self, mask: int) -> int:
        """The mask with all that its bits require."""
        while True:
            wider = mask
            for option in self.bits(mask):
                wider |= option.requires
            if wider == mask:
                return mask
            mask = wider

    def all_on(self) -> int:
        """The legal mask with the most bits; of several, the largest number."""
        rivals = [o for o in self.options if o.conflicts or any(p.conflicts & o.bit for p in self.options)]
        best = 0
        for size in range(len(rivals) + 1):
            for dropped in itertools.combinations(rivals, size):
                mask = self._without(sum(o.bit for o in dropped))
                if self.legal(mask):
                    best = max(best, mask, key=lambda m: (m.bit_count(), m))
        return best

    def _without(self, off: int) -> int:
        """All bits but these and those that require one of them."""
        return sum(o.bit for o in self.options if not self.closure(o.bit) & off)
