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


def test_runs_repeat_exactly(real: Real) -> None:
    """Bochs counts instructions: the same run has the same log, to the byte; with two CPUs but for time stamps (docs/bochs.md)."""
    logs = [real.run("bochs", "--arch=amd64", "--cpus=1,2", "--opt=0x3c", "-j1").document["logs"] for _ in range(2)]
    assert logs[0].keys() == logs[1].keys() and logs[0]
    for name in logs[0]:
        one, two = (timeless(log[name]) if "/2cpu/" in name else log[name] for log in logs)
        assert one == two, name


def timeless(log: str) -> str:
    """Without the time stamps, and the checksums of their lines."""
    return re.sub(r" tsc=\d+(.*) ~[0-9a-f]{4}", r"\1", log)


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
