# SPDX-License-Identifier: BSD-2-Clause
"""run_tests.py minimize, on a fake Bochs, and for real on a mistake of Bochs and on somebody else's wrong L0."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import engines
from harness.cases import mask_item
from harness.errors import EnvironmentProblem
from harness.probe import Prober, Words
from harness.settings import Settings
from harness.stacks import parse
from harness.tests.conftest import FAKE_BOCHS, Done, Runner
from harness.tests.fake_lhv import TABLE

NEST = "bochs/xmhf-nest"
ALL = range(TABLE.all_bits + 1)


def masks(need: int, result: str, what: str) -> dict[str, str]:
    """On every mask with these bits."""
    return {f"opt/0x{m:04x}{result}": what for m in ALL if m & need == need}


def minimize(run: Runner, id: str, *words: str, nested: dict[str, str], bare: dict[str, str] | None = None, **more: Any) -> Done:
    script = {"nested": nested, "items": bare or {}, **more}
    return run(id, *words, command="minimize", defaults=False, reports=False, script=script)


def lines(done: Done, start: str) -> list[str]:
    return [line.removeprefix(start) for line in done.out.splitlines() if line.startswith(start)]


@pytest.mark.parametrize("id", [f"{NEST}/amd64/4cpu/opt/0x007d", "bochs/amd64/4cpu/opt/0x007d/vpid/cpu3"])
def test_mask(run: Runner, id: str) -> None:
    """Whatever the stack in the id is."""
    words = [f"--stack={NEST}"] if id.startswith("bochs/amd64") else []
    done = minimize(run, id, *words, nested=masks(0x14, "/vpid", "bad if cpus>=2 iter>=7"))
    assert done.code == 0, done.out + done.err
    (alone,) = lines(done, "alone: ")
    assert alone == "amd64/2cpu/opt/0x0014 (ept+vpid), 7 iterations"
    assert "amd64/1cpu/opt/0x007d (msr_lists+ept+ept_switch+vpid+unrestricted+l1_user), 20 iterations: GOOD\n" in done.out
    assert "amd64/2cpu/opt/0x0000 (none), 20 iterations: GOOD\n" in done.out
    (repeat,), (bundle,) = lines(done, "repeat: "), lines(done, "bundle: ")
    assert repeat.startswith(f"./run_tests.py --stack bochs --stack {NEST} --arch amd64 --cpus 2 --opt 0x0014 --iter 7 --bochs")
    assert bundle.startswith(f"./run_tests.py --bundle {NEST}/amd64/2cpu/opt/0x0014 --iter 7 --bochs")


def test_what_it_prints_can_be_run(run: Runner, tmp_path: Path) -> None:
    nested = masks(0x14, "/vpid", "bad if iter>=7")
    done = minimize(run, f"{NEST}/amd64/1cpu/opt/0x003c", "--seed=5", nested=nested)
    (repeat,), (bundle,) = lines(done, "repeat: "), lines(done, "bundle: ")
    again = run(*shlex.split(repeat)[1:], "-j1", defaults=False, script={"nested": nested})
    bad = [i for i, v in again.verdicts.items() if v != "GOOD"]
    assert again.code == 1 and bad == [f"{NEST}/amd64/1cpu/opt/0x0014/vpid/cpu0"]
    assert set(again.document["stacks"]) == {"bochs", NEST}
    assert "--seed" not in repeat, "the usual seed shows it as well"
    folder = tmp_path / "bundle"
    done = run(*shlex.split(bundle)[1:], f"--bundle-dir={folder}", defaults=False, script={"text": ""})
    assert done.code == 0 and "iter=7" in next(folder.glob("*/REPORT.md")).read_text()


def test_boots_are_few(run: Runner) -> None:
    """Masks that are tried together are run in one boot, unless the machine dies of them."""
    done = minimize(run, f"{NEST}/amd64/1cpu/opt/0x007d", nested=masks(0x11, "/vpid", "bad"))
    (boots,) = lines(done, "boots: ")
    match = re.fullmatch(rf"(\d+) of {NEST}, (\d+) of bochs", boots)
    assert match and int(match[1]) <= 9 and int(match[2]) <= 7, boots
    assert "alone: amd64/1cpu/opt/0x0011 (msr_lists+vpid), 1 iteration\n" in done.out
    told = lines(done, "amd64/1cpu/")
    assert len(told) == len(set(told)) > 5, "no step is told twice"


@pytest.mark.parametrize("what,verdict", [("crash", "CRASH"), ("l0panic", "CRASH"), ("hang", "TIMEOUT")])
def test_a_dead_machine(run: Runner, what: str, verdict: str) -> None:
    nested = masks(0x10, "", what)
    done = minimize(run, f"{NEST}/amd64/1cpu/opt/0x003d", "--timeout=0.3", nested=nested, burn=True)
    assert done.code == 0, done.out + done.err
    assert "alone: amd64/1cpu/opt/0x0010 (vpid), 1 iteration\n" in done.out and f"  {verdict} base/cpu0 " in done.out


def test_another_failure_is_not_it(run: Runner) -> None:
    """Smaller masks that fail otherwise, or on both stacks, don't show the difference."""
    nested = masks(0x14, "/vpid", "bad") | masks(0x11, "/vpid", "bad") | {"opt/0x0014": "crash", "opt/0x0010/base": "error"}
    bare = {"opt/0x0011/vpid": "bad"}
    done = minimize(run, f"{NEST}/amd64/1cpu/opt/0x0015/vpid/cpu0", nested=nested, bare=bare)
    assert "opt/0x0014 (ept+vpid), 20 iterations: not of the kind: CRASH base/cpu0" in done.out
    assert "opt/0x0010 (vpid), 20 iterations: not of the kind: ERROR base/cpu0" in done.out
    assert "opt/0x0011 (msr_lists+vpid), 20 iterations: bochs isn't GOOD" in done.out
    assert done.code == 0 and lines(done, "alone: ") == ["amd64/1cpu/opt/0x0015 (msr_lists+ept+vpid), 1 iteration"]


@pytest.mark.parametrize("bare", [{"opt/0x0011/base": "bad"}, {"opt/0x0011/vpid": "skip:X"}])
def test_the_other_stack_must_be_good(run: Runner, bare: dict[str, str]) -> None:
    """In the very result, and without that failure in another."""
    done = minimize(run, f"{NEST}/amd64/1cpu/opt/0x0015", nested=masks(0x11, "/vpid", "bad"), bare=bare)
    assert done.code == 0 and "opt/0x0011 (msr_lists+vpid), 20 iterations: bochs isn't GOOD\n" in done.out
    assert lines(done, "alone: ") == ["amd64/1cpu/opt/0x0015 (msr_lists+ept+vpid), 1 iteration"]


def test_a_failure_of_the_boot_and_not_of_the_mask(run: Runner, tmp_path: Path) -> None:
    """What is seen only behind other masks isn't seen alone: then each gets its own boot."""
    nested = masks(0x14, "/vpid", "bad") | {"behind:opt/0x000c/ept": "bad"}
    done = minimize(run, f"{NEST}/amd64/1cpu/opt/0x003c", nested=nested)
    assert done.code == 0 and "not seen again; from the start, each in a boot of its own" in done.out
    assert lines(done, "alone: ")[-1] == "amd64/1cpu/opt/0x0014 (ept+vpid), 1 iteration"


def test_a_test(run: Runner) -> None:
    """CPUs and seed alone."""
    nested = {"test/smp/two": "bad if cpus>=3"}
    done = minimize(run, f"{NEST}/amd64/4cpu/test/smp/two", "--seed=7", nested=nested)
    assert done.code == 0 and lines(done, "alone: ") == ["amd64/3cpu/test/smp/two"]
    assert "amd64/2cpu/test/smp/two, seed 7: GOOD\n" in done.out and "amd64/3cpu/test/smp/two: BAD\n" in done.out
    nested = {"test/smp/two": "bad if seed>=7"}
    done = minimize(run, f"{NEST}/amd64/1cpu/test/smp/two", "--seed=7", nested=nested)
    assert lines(done, "alone: ") == ["amd64/1cpu/test/smp/two, seed 7"] and lines(done, "repeat: ")[0].find("--seed 7") > 0


@pytest.mark.parametrize("nested,bare,part", [
    ({}, {}, f"{NEST}: GOOD"), ({"test/smp/two": "bad"}, {"test/smp/two": "bad"}, "bochs: BAD x == 1"),
    ({"test/smp/two": "skip:X"}, {}, f"{NEST}: SKIP missing: X"), ({"test/smp/two": "bad"}, {"test/smp/two": "skip:X"}, "bochs: SKIP"),
])  # fmt: skip
def test_nothing_differs(run: Runner, nested: dict[str, str], bare: dict[str, str], part: str) -> None:
    done = minimize(run, f"{NEST}/amd64/1cpu/test/smp/two", nested=nested, bare=bare)
    assert done.code == 4 and part in done.out and "nothing differs" in done.out


def test_environment(run: Runner) -> None:
    done = minimize(run, f"{NEST}/amd64/1cpu/opt/0x0004", nested={}, start="die")
    assert done.code == 3 and "Bochs didn't start" in done.err


@pytest.mark.parametrize("words,part", [
    (["bochs/amd64/1cpu/opt/0x0004"], "nothing is below bochs"), (["nosuch"], "not an id"), ([], "ID"),
    ([f"{NEST}/amd64/1cpu/opt/0x0008"], "requires ept"), ([f"{NEST}/amd64/1cpu/test/a/b"], "no test a/b"),
    (["bochs/amd64/1cpu/opt/0x0004", "--against=bochs"], "the same stack"), (["bochs/amd64/1cpu/opt/0x0004", "--stack=xen"], "xen"),
    ([f"{NEST}/amd64/1cpu/opt/0x0004/vpid/cpu0"], "no result vpid/cpu0"), ([f"{NEST}-i386/amd64/1cpu/opt/0x0004"], "doesn't run amd64"),
    ([f"{NEST}/amd64/1cpu/opt/0x0004", "--cpus=2"], "--cpus"),
])  # fmt: skip
def test_usage(run: Runner, words: list[str], part: str) -> None:
    done = run(*words, command="minimize", defaults=False, reports=False)
    assert done.code == 2 and part in done.err


def test_questions_are_asked_once(fake_build_dir: Path) -> None:
    prober = Prober(replace(Settings(), build=fake_build_dir, bochs=str(FAKE_BOCHS)))
    stack, items = parse("bochs"), [mask_item(m, TABLE) for m in (0, 4, 0x10)]
    first = prober.ask(stack, Words("amd64", 1), items)
    assert [rows[0]["item"] for rows in first] == [f"bochs/amd64/1cpu/{i.id}" for i in items] and prober.boots == {"bochs": 1}
    assert prober.ask(stack, Words("amd64", 1), items[::-1]) == first[::-1] and prober.boots == {"bochs": 1}
    prober.ask(stack, Words("amd64", 1), items[:1], fresh=True)
    prober.ask(stack, Words("amd64", 1, seed=2), items[:1])
    assert prober.boots == {"bochs": 3}


def test_for_real(run: Runner) -> None:
    """VMCALL in root operation is Bochs' mistake, on any number of CPUs."""
    settings = Settings()
    if not settings.kernel("amd64").exists() or not settings.layer("xmhf-nest").exists():
        pytest.skip("lhv or xmhf-nest isn't built")
    try:
        path = engines.find(parse("bochs")).path  # type: ignore[attr-defined]
    except EnvironmentProblem as e:
        pytest.skip(str(e))
    words = [f"--against={NEST}", f"--bochs={path}", f"--build-dir={settings.build}"]
    done = run("bochs/amd64/2cpu/test/insn/vmcall_root", *words, command="minimize", defaults=False, reports=False)
    assert done.code == 0, done.out + done.err
    assert lines(done, "alone: ") == ["amd64/1cpu/test/insn/vmcall_root"] and "VMXERR_vmcall_in_vmx_root" in done.out
