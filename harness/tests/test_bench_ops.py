# SPDX-License-Identifier: BSD-2-Clause
"""Tables and comparisons of make bench."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import bench_hardware, bench_ops, elf
from harness.settings import ARCHS, ROOT, Settings
from harness.wire import encode


def test_figures_are_medians_by_name() -> None:
    log = encode(1, "note", text="x") + encode(2, "bench", id="test/bench/cpuid", cpu=0, median=25, max=30)
    assert bench_ops.read_figures(b"noise\r\n" + log) == {"cpuid": 25}
    assert bench_ops.read_figures(encode(1, "plan", tsc=5000) + log) == {"cpuid": 25, "boot": 5000}


def test_operations_of_table_and_image_agree() -> None:
    wanted = [o.name for o in bench_ops.Table.load().operations]
    for arch in ARCHS:
        if not Settings().kernel(arch).exists():
            pytest.skip("lhv isn't built")
        names = {t.name for t in elf.read_tests(Settings().kernel(arch)) if t.bench}
        assert set(wanted) == names and len(wanted) == len(names)


def test_each_operation_has_a_figure_of_each_host() -> None:
    table = bench_ops.Table.load()
    assert all(len(o.hosts) == len(table.hosts) for o in table.operations)


def test_table() -> None:
    table = bench_ops.Table.load()
    bare, nested = {"cpuid": 25, "invept": 22}, {"cpuid": 425}
    lines = bench_ops.rows(table, bare, nested)
    assert "| 25 | 425 | 400 EXCEEDED | 300 | 959 |" in lines[2]
    assert any("INVEPT single" in line and "| 22 | - | - | 800 |" in line for line in lines)
    assert len({line.count("|") for line in lines}) == 1
    assert "EXCEEDED" not in "".join(bench_ops.rows(table, bare, None))
    assert bench_ops.exceeded(table, bench_ops.added(bare, nested)) == ["cpuid: 400 instructions, at most 300"]
    assert bench_ops.compare({"boot": 9000, "cpuid": 200}, {"boot": 10, "cpuid": 200}) == ([], {"boot": 10, "cpuid": 200})
    assert bench_ops.exceeded(table, {"boot": 30_000_001}) == ["boot: 30,000,001 instructions, at most 30,000,000"]


def test_worse_fails_and_better_is_kept() -> None:
    best = {"vmcall": 1000, "cpuid": 100, "rdmsr": 0}
    worse, now = bench_ops.compare({"vmcall": 1021, "cpuid": 90, "invept": 700, "rdmsr": 6}, best)
    assert worse == ["vmcall: 1,021 instructions, were 1,000", "rdmsr: 6 instructions, were 0"]
    assert now == {"vmcall": 1000, "cpuid": 90, "invept": 700, "rdmsr": 0}
    assert bench_ops.compare({"vmcall": 1020, "rdmsr": 5}, best) == ([], best)


def test_a_stack_that_is_not_there_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_ops.measure_nested("bochs/nosuch", "amd64", bench_ops.Table.load()) is None
    assert "left out" in capsys.readouterr().err


def test_slow_instructions_are_counted_by_what_they_add() -> None:
    plain = {"vmcall": 992, "rdmsr": 10}
    slow = {"exit": {"vmcall": 2992, "rdmsr": 10}, "vmread": {"vmcall": 16003, "rdmsr": 9}}
    counts = bench_hardware.count(plain, slow)
    assert counts == {"vmcall": {"exit": 2, "vmread": 15}, "rdmsr": {"exit": 0, "vmread": 0}}
    full = {"vmcall": dict.fromkeys(bench_hardware.CLASSES, 0) | counts["vmcall"]}
    lines = bench_hardware.rows({"rdmsr": "RDMSR", "vmcall": "VMCALL"}, full)
    assert lines[2:] == ["| VMCALL | 2 | 15 | 0 | 0 | 0 | 0 |"]
    assert len({line.count("|") for line in lines}) == 1


def test_more_slow_instructions_than_ever_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_hardware, "build", lambda: None)

    def measure(stack: str, arch: str, table: bench_ops.Table, build: Path) -> dict[str, int]:
        return {"vmcall": 5000 if build.name == "exit" else 3000}

    monkeypatch.setattr(bench_ops, "measure", measure)
    table = bench_ops.Table.load()
    worse, best = bench_ops.measure_hardware({"vmcall": 3000}, {"vmcall/exit": 1, "vmcall/msr": 4}, table)
    assert worse == ["vmcall/exit: 2, were 1"]
    assert best["vmcall/exit"] == 1 and best["vmcall/msr"] == 0 and best["vmcall/vmread"] == 0


def test_the_classes_are_those_of_the_build() -> None:
    text = (ROOT / "xmhf-nest" / "build.mk").read_text()
    assert f"NEST_CLASSES := {' '.join(bench_hardware.CLASSES)}\n" in text
    assert f"times {bench_hardware.COSTLY} nop" in (ROOT / "lib" / "arch" / "asm.inc").read_text()


def test_measured_hosts_replace_told_ones() -> None:
    table = bench_ops.Table.load()
    name = table.operations[0].name
    lines = bench_ops.rows(table, {name: 10}, {name: 30}, True, {"bochs/kvm-6.1": {name: 1010}, "bochs/kvm-5.10": {}})
    titles, first = ([c.strip() for c in line.strip("|").split("|")] for line in (lines[0], lines[2]))
    row = dict(zip(titles, first))
    assert "KVM 6.1" not in titles and "KVM 7.2" in titles and len(titles) == len(first)
    assert row["bochs/kvm-6.1 adds"] == "1,000" and row["bochs/kvm-5.10 adds"] == "-" and row["L0 adds"] == "20"
