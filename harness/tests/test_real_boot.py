# SPDX-License-Identifier: BSD-2-Clause
"""lhv for real, on Bochs and QEMU: canaries that must fail, hang and crash, and the run goes on behind them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import engines
from harness.errors import EnvironmentProblem
from harness.settings import ARCHS, ROOT, Settings
from harness.stacks import parse
from harness.tests.conftest import Done


@pytest.fixture
def real(tmp_path: Path) -> Real:
    settings = Settings()
    if not (settings.tables.exists() and all(settings.kernel(a).exists() for a in ARCHS)):
        pytest.skip("lhv isn't built")
    return Real(tmp_path)


class Real:
    def __init__(self, tmp: Path):
        self._report = tmp / "r.json"

    def run(self, stack: str, *words: str) -> Done:
        try:
            engines.find(parse(stack))
        except EnvironmentProblem as e:
            pytest.skip(str(e))
        command = [sys.executable, str(ROOT / "run_tests.py"), "--no-build", f"--stack={stack}", f"--json={self._report}"]
        done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=300)
        return Done(done.returncode, done.stdout, done.stderr, json.loads(self._report.read_text()))


@pytest.mark.parametrize("stack,arch", [("bochs", "i386"), ("bochs", "amd64"), ("bochs@2.7", "amd64")])
def test_canaries(real: Real, stack: str, arch: str) -> None:
    """In the middle of a run: what follows them is judged as ever."""
    words = ["--test=canary/triple_fault,canary/hang,canary/fail", "--test=ept/rep_ins_absent_page", "--opt=0x0", "-j1"]
    done = real.run(stack, f"--arch={arch}", "--cpus=1", "--timeout=2", *words)
    verdicts = {k.split("1cpu/")[1]: v for k, v in done.verdicts.items()}
    assert verdicts == {
        "opt/0x0000/base/cpu0": "GOOD", "test/canary/triple_fault": "CRASH", "test/canary/hang": "TIMEOUT",
        "test/canary/fail": "BAD", "test/ept/rep_ins_absent_page": "GOOD",
    }  # fmt: skip
    assert done.code == 1
    assert "3rd (13) exception" in next(r["reason"] for r in done.document["results"] if r["verdict"] == "CRASH")


@pytest.mark.parametrize("arch", ARCHS)
def test_what_a_test_leaves_behind(real: Real, arch: str) -> None:
    """It's an ERROR of that test, which has made no check that failed, and no other test finds it."""
    spoil = "canary/spoil_registers,canary/spoil_tables,canary/spoil_registers_again"
    done = real.run("bochs", f"--arch={arch}", "--cpus=1", f"--test={spoil},ept/rep_ins_absent_page", "-j1")
    verdicts = {k.split("test/")[1]: v for k, v in done.verdicts.items()}
    assert verdicts.pop("ept/rep_ins_absent_page") == "GOOD" and set(verdicts.values()) == {"ERROR"} and len(verdicts) == 3
    reasons = {k.split("canary/")[1]: v for k, v in done.reasons.items() if "canary" in k}
    assert all(r.startswith("leaves behind: ") for r in reasons.values())
    assert re.sub("0x[0-9a-f]+", "N", reasons["spoil_registers"]) == (
        "leaves behind: CR4 N for N, DR1 N for N, IA32_PAT N for N, LVT timer N for N"
    )
    assert reasons["spoil_registers_again"] == reasons["spoil_registers"]
    for name in ("entry of a page table", "sum of the shared EPT", "descriptor"):
        assert f"{name} 0x" in reasons["spoil_tables"]


def test_runs_repeat_exactly(real: Real) -> None:
    """Bochs counts instructions: with one CPU, the same run has the same log, to the byte; with two, see docs/bochs.md."""
    runs = [real.run("bochs", "--arch=amd64", "--cpus=1,2", "--opt=0x3c", "-j1") for _ in range(2)]
    single = [{name: log for name, log in run.document["logs"].items() if "/1cpu/" in name} for run in runs]
    assert single[0] and single[0] == single[1]
    assert runs[0].verdicts == runs[1].verdicts


def test_qemu_without_vmx(real: Real) -> None:
    done = real.run("qemu-tcg", "--arch=amd64", "--cpus=1", "--opt=0,0x3c", "--test=*", "-j1")
    assert done.code == 4, done.out
    assert set(done.verdicts.values()) == {"SKIP"} and set(done.reasons.values()) == {"missing: VMX"}


def test_lhv_refuses_what_the_harness_refuses(real: Real, tmp_path: Path) -> None:
    """Both have the rules from one table; past the harness, lhv says it on COM1."""
    kernel = Settings().kernel("amd64")
    words = [f"--l1={kernel}", "--append=opt=0x8 exit=bochs", "--expect=refuse .*ept_switch requires ept", "-j1"]
    done = real.run("bochs", *words)
    assert done.code == 0, done.out
