# SPDX-License-Identifier: BSD-2-Clause
"""A model of lhv in Python: speaks the protocol as docs/protocol.md has it, or breaks it as a test wants.

`behaviour` maps an item or result (without the CPU) to what shall become of it:
    bad, error, skip:CAPABILITY, hang, crash, panic, missing, twice, stray, noend; of `done`: missing
    Behind it may be conditions: "bad if cpus>=2 iter>=5". The key behind:ITEM is for an item that isn't its boot's first.
    l0panic, l0panic:halt, l0panic:go_on: the layer below prints its panic, and the machine ends, sleeps, goes on; also of `done`
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.options import Option, OptionTable
from harness.wire import encode

TABLE = OptionTable([
    Option(0x1, "msr_lists", 0, 0, "MSR lists"),
    Option(0x2, "no_intr", 0, 0, "IF stays 0"),
    Option(0x4, "ept", 0, 0, "EPT"),
    Option(0x8, "ept_switch", 0x4, 0, "switch EPTP"),
    Option(0x10, "vpid", 0, 0, "VPID"),
    Option(0x20, "unrestricted", 0x4, 0, "unrestricted guest"),
    Option(0x40, "l1_user", 0, 0x2, "user mode in L1"),
])  # fmt: skip
TESTS = ("ept/violation", "intr/window", "smp/two")
CANARIES = ("canary/fail", "canary/hang")


L0_LINE = b"xmhf-nest: version=1 arch=amd64 cpus=1\r\n"
L0_PANIC = b"xmhf-nest: PANIC cpu=0 at=xmhf-nest/exit.c:7 exit of L1 for reason 0x21\r\nxmhf-nest:   GUEST_RIP=0x1234\r\n"


class Hang(Exception):
    """The guest is to sleep for ever."""


class Crash(Exception):
    """The machine is to end."""


@dataclass
class Guest:
    """Run it, and it yields what it would write to COM1."""

    options: Mapping[str, str]
    arch: str
    behaviour: Mapping[str, str]
    tsc: int = 5_000_000
    seq: int = 0
    behind: bool = False  # the first item

    def line(self, kind: str, **fields: object) -> bytes:
        self.seq += 1
        self.tsc += 1000
        return encode(self.seq, kind, **fields)

    def items(self) -> list[tuple[str, list[str]]]:
        out = []
        for word in filter(None, self.options.get("opt", "").split(",")):
            mask = int(word, 0)
            id = f"opt/0x{mask:04x}"
            out.append((id, [f"{id}/base", *(f"{id}/{o.name}" for o in TABLE.bits(mask))]))
        for name in filter(None, self.options.get("test", "").split(",")):
            out.append((f"test/{name}", [f"test/{name}"]))
        return out

    def run(self) -> Iterator[bytes]:
        items, first, cpus = self.items(), int(self.options.get("from", 0)), int(self.options["cpus"])
        plan = {"proto": 1, "run": self.options["run"], "arch": self.arch, "cpus": cpus}
        plan |= {"items": len(items) - first, "from": first, "seed": 1, "iter": 20, "tsc": self.tsc, "cpu": "A model"}
        yield self.line("plan", **plan)
        yield self.line("cap", name="enable EPT", have=1)
        counts = dict.fromkeys(("GOOD", "SKIP", "ERROR", "BAD"), 0)
        for n, (id, names) in list(enumerate(items))[first:]:
            yield self.line("start", n=n, id=id, tsc=self.tsc)
            self.behind = n > first
            what = self.told(id)
            if what == "hang":
                raise Hang
            if what == "crash":
                raise Crash
            if what == "panic":
                yield self.line("panic", cpu=0, at="lhv/x.c:1", text="it broke")
                raise Crash
            yield from self.layer(what)
            for name in names:
                for cpu in range(cpus if id.startswith("opt/") else 1):
                    yield from self.result(name, cpu, counts)
            if what == "stray":
                yield self.line("result", id="opt/0xffff/base", cpu=0, verdict="GOOD", checks=1)
            if what != "noend":
                yield self.line("end", n=n, id=id, tsc=self.tsc)
        if self.behaviour.get("done") != "missing":
            yield self.line("done", items=len(items) - first, tsc=self.tsc, **{k.lower(): v for k, v in counts.items()})
        yield from self.layer(self.behaviour.get("done", ""))

    def told(self, name: str) -> str:
        usual = self.behaviour.get(name, "")
        what, _, conditions = (self.behaviour.get(f"behind:{name}", usual) if self.behind else usual).partition(" if ")
        for key, least in (word.split(">=") for word in conditions.split()):
            if int(self.options.get(key, 20)) < int(least):
                return ""
        return what

    def layer(self, what: str) -> Iterator[bytes]:
        """The one that lhv runs on."""
        panic, _, then = what.partition(":")
        if panic != "l0panic":
            return
        yield b"lhv 00" + L0_PANIC  # in the middle of a line of another CPU
        if then == "halt":
            raise Hang
        if then != "go_on":
            raise Crash

    def result(self, name: str, cpu: int, counts: dict[str, int]) -> Iterator[bytes]:
        what, _, argument = self.told(name).partition(":")
        if what == "missing":
            return
        verdict = {"bad": "BAD", "error": "ERROR", "skip": "SKIP"}.get(what, "GOOD")
        fields: dict[str, object] = {"id": name, "cpu": cpu, "verdict": verdict, "checks": 7}
        if verdict == "SKIP":
            fields["reason"] = f"missing: {argument}"
        elif verdict != "GOOD":
            fields["reason"] = "x == 1: want 0x1, got 0x2"
            yield self.line("fail", id=name, cpu=cpu, at="a.c:3", expr="x == 1", want="0x1", got="0x2", iter=3)
        for _ in range(2 if what == "twice" else 1):
            counts[verdict] += 1
            yield self.line("result", **fields)


def parse(cmdline: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in cmdline.split())
