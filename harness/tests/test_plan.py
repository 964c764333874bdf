# SPDX-License-Identifier: BSD-2-Clause
"""What is run, its ids, and how it is spread: complete, disjoint, always the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import elf, plan
from harness.cases import Item
from harness.errors import EnvironmentProblem, UsageError
from harness.plan import Case
from harness.settings import Settings, parse_cpus, parse_shard, parse_timeout
from harness.stacks import expand, parse
from harness.tests.fake_build import record


@pytest.fixture
def settings(fake_build_dir: Path) -> Settings:
    return Settings(build=fake_build_dir)


def result_ids(cases: list[Case]) -> list[str]:
    return [f"{c.machine.name}/{c.item.path(k)}" for c in cases for k in c.item.keys(c.machine.cpus)]


def test_ids_are_stable(settings: Settings) -> None:
    """Others compare runs by them: these are for ever."""
    cases = plan.make(replace(settings, opts=("0x14",), tests=("violation",)))
    assert result_ids(cases)[:3] == [
        "bochs/i386/1cpu/opt/0x0014/base/cpu0", "bochs/i386/1cpu/opt/0x0014/ept/cpu0",
        "bochs/i386/1cpu/opt/0x0014/vpid/cpu0",
    ]  # fmt: skip
    assert result_ids(cases)[-1] == "bochs/amd64/2cpu/test/ept/violation"
    assert "bochs/amd64/2cpu/opt/0x0014/vpid/cpu1" in result_ids(cases)
    assert len(set(result_ids(cases))) == len(result_ids(cases)) == 2 * (3 + 1 + 6 + 1)


def test_defaults(settings: Settings) -> None:
    items = [i.id for i in plan.items_of(settings)["amd64"]]
    assert {"opt/0x0000", "opt/0x003c", "opt/0x003e", "test/smp/two"} <= set(items)
    assert not any("canary" in i for i in items)


def test_only_masks_or_only_tests(settings: Settings) -> None:
    assert [i.id for i in plan.items_of(replace(settings, opts=("ept",)))["i386"]] == ["opt/0x0004"]
    assert [i.id for i in plan.items_of(replace(settings, tests=("*",)))["i386"]] == [
        "test/ept/violation", "test/intr/window", "test/smp/two",
    ]  # fmt: skip


def test_globs(settings: Settings) -> None:
    def chosen(*globs: str) -> list[str]:
        return [i.id[5:] for i in plan.items_of(replace(settings, tests=globs))["amd64"]]

    assert chosen("ept/*") == chosen("viol*") == chosen("ept/violatio?") == ["ept/violation"]
    assert chosen("window", "violation") == chosen("window,violation") == ["ept/violation", "intr/window"], "image's order"
    assert chosen("canary/fail") == chosen("fail") == ["canary/fail"]
    for glob in ("canary/*", "f?il", "nosuch", "[e]pt/*"):
        with pytest.raises(UsageError, match="no such test"):
            chosen(glob)


def test_tests_of_one_architecture() -> None:
    tests = elf.parse_records(record("a/b", flags=elf.I386_ONLY) + record("a/c", flags=elf.AMD64_ONLY) + record("a/d"))
    assert [t.id for t in tests if t.runs_on("i386")] == ["a/b", "a/d"]
    assert [t.id for t in tests if t.runs_on("amd64")] == ["a/c", "a/d"]


def test_records() -> None:
    (test,) = elf.parse_records(record("ept/x", opt=0x24, sdm="A Section", needs="a; b", flags=elf.TWO_CPUS))
    assert (test.area, test.name, test.sdm, test.needs, test.opt) == ("ept", "x", "A Section", "a; b", 0x24)
    assert elf.parse_records(b"") == []
    for data in (record("a/b")[:-1], bytes(elf.RECORD.size), b"\xff" * elf.RECORD.size):
        with pytest.raises(ValueError):
            elf.parse_records(data)


def test_unreadable_images(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="make lhv"):
        elf.read_tests(tmp_path / "lhv-i386.elf")
    path = tmp_path / "lhv-amd64.elf"
    path.write_bytes(b"\x7fELF" + bytes(100))
    with pytest.raises(EnvironmentProblem, match="not an image of lhv"):
        elf.read_tests(path)


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 60])
@pytest.mark.parametrize("splits", [1, 3])
def test_shards_are_complete_and_disjoint(settings: Settings, parts: int, splits: int) -> None:
    settings = replace(settings, splits=splits)
    whole = [c.id for c in plan.make(settings)]
    shards = [[c.id for c in plan.make(replace(settings, shard=(i + 1, parts)))] for i in range(parts)]
    assert [id for shard in shards for id in shard] == whole
    assert shards == [[c.id for c in plan.make(replace(settings, shard=(i + 1, parts)))] for i in range(parts)]
    if parts <= 7:
        assert all(shards)


def test_a_group_is_one_machine(settings: Settings) -> None:
    for splits in (1, 2, 5, 100):
        cases = plan.make(replace(settings, splits=splits))
        groups: dict[str, set[str]] = {}
        for case in cases:
            groups.setdefault(case.group, set()).add(case.machine.name)
        assert all(len(machines) == 1 for machines in groups.values())
        assert len(groups) == 4 * min(splits, len(cases) // 4)


def test_many_tests_need_several_boots(tmp_path: Path, settings: Settings) -> None:
    """lhv's command line has an end."""
    long_names = [f"area/{'x' * 50}{n:03}" for n in range(200)]
    items = [t.item() for name in long_names for t in elf.parse_records(record(name))]
    boots = plan._boots(items, 1)
    assert [i for boot in boots for i in boot] == items and len(boots) > 1
    assert all(sum(len(i.word[1]) + 1 for i in boot) <= plan.CMDLINE_ROOM for boot in boots)


def test_shuffled() -> None:
    """Everything, in an order that the number decides; what must be last is last."""
    names = [f"area/t{n}" for n in range(40)]
    tests = [t for n, name in enumerate(names) for t in elf.parse_records(record(name, last=n >= 37))]
    masks = [Item(f"opt/0x{n:04x}", (), True) for n in range(10)]
    shuffled = plan.shuffled(masks, tests, 7)
    assert shuffled == plan.shuffled(masks, tests, 7) != plan.shuffled(masks, tests, 8)
    assert shuffled[0] != masks and sorted(shuffled[0], key=lambda item: item.id) == masks
    assert shuffled[1] != tests and {t.id for t in shuffled[1]} == {*names}
    assert [t.last for t in shuffled[1]] == [False] * 37 + [True] * 3


def test_shuffle_reaches_the_plan(settings: Settings) -> None:
    plain = [c.id for c in plan.make(settings)]
    other = [[c.id for c in plan.make(replace(settings, shuffle=n))] for n in range(1, 9)]
    assert all(sorted(o) == sorted(plain) for o in other) and any(o != plain for o in other)


def test_stacks() -> None:
    names = [s.name for s in expand(["bochs", "bochs@2.7", "qemu-tcg", "bochs:tigerlake"], ["corei7_skylake_x"])]
    assert names == ["bochs:corei7_skylake_x", "bochs@2.7:corei7_skylake_x", "qemu-tcg", "bochs:tigerlake"]
    assert expand(["bochs:corei7_haswell_4770", "bochs"], [])[0].name == "bochs"
    assert len(expand(["bochs", "bochs"], [])) == 1
    for spec in ("", "xen", "bochs@", "bochs/kvm-9", "qemu-tcg@7", "bochs:", "bochs@2.7@3.0", "/bochs"):
        with pytest.raises(UsageError):
            parse(spec)


def test_numbers_that_are_none() -> None:
    for shard in ("0/2", "3/2", "1", "1/0", "a/b", "1/2/3", "-1/2"):
        with pytest.raises(UsageError):
            parse_shard(shard)
    for timeout in ("0", "-1", "x", "inf", "nan"):
        with pytest.raises(UsageError):
            parse_timeout(timeout)
    for cpus in ("0", "9", "x", "1,x", "01"):
        with pytest.raises(UsageError):
            parse_cpus([cpus])
