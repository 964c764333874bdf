# SPDX-License-Identifier: BSD-2-Clause
"""Linux with KVM as an L0: stacks, options, and what is made of what the appliance says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.cases import ResultKey
from harness.engines.bochs import BochsEngine
from harness.engines.kvm import KvmEngine
from harness.errors import UsageError
from harness.judge import Seen, read
from harness.session import blame
from harness.settings import Settings, from_options
from harness.stacks import expand, parse
from harness.tests.test_judge import ITEMS, log
from harness.transcript import Request, Transcript
from harness.verdicts import Verdict

WARNING = "WARNING: CPU: 0 PID: 80 at arch/x86/kvm/vmx/nested.c:4792 nested_vmx_vmexit+0xd27/0x1880 [kvm_intel]"


def engine() -> KvmEngine:
    bochs = BochsEngine("bochs", "3.0+fixes", "corei7_haswell_4770", "", "/nowhere/bochs", (3, 0), False)
    return KvmEngine("bochs", "3.0+fixes", "corei7_haswell_4770", below=bochs, title="Linux 6.1.1")


def test_names() -> None:
    for name in ("bochs/kvm-6.1", "bochs:corei7_skylake_x/kvm-5.10", "bochs@2.7/kvm-7.2/qemu", "bochs/kvm", "bochs/kvm/qemu"):
        stack = parse(name)
        assert stack.name == name and stack.kvm and stack.runs("i386") and stack.runs("amd64")
        assert stack.below and "/" not in stack.below.name
    assert not parse("bochs/xmhf-nest").kvm
    assert parse("bochs@3.0+fixes").version == "3.0+fixes"
    assert parse("bochs/kvm-6.1", "disk").name == "bochs/kvm-6.1"
    for name in ("bochs/kvm-6.2", "qemu-kvm/kvm-6.1", "bochs/kvm-6.1+disk", "bochs/kvm-6.1/xen", "bochs/qemu", "bochs/xmhf-nest/qemu"):
        with pytest.raises(UsageError):
            parse(name)


def test_models() -> None:
    models = ["corei7_haswell_4770", "corei7_skylake_x"]
    assert [s.name for s in expand(["bochs/kvm-6.1"], models, kvm_too=False)] == ["bochs/kvm-6.1"]
    assert len(expand(["bochs/kvm-6.1"], models)) == 2


def settings(**values: Any) -> Settings:
    lists: dict[str, Any] = {name: [] for name in ("stack", "cpu_model", "arch", "cpus", "opt", "test", "expect", "reject", "l0_param")}
    return from_options(lambda name: {**lists, **values}.get(name))


def test_options() -> None:
    ok = settings(stack=["bochs/kvm-6.1"], l0_param=["ept=0,pml=0", "vpid=0"])
    assert ok.l0_params == ("ept=0", "pml=0", "vpid=0")
    own = settings(kernel="/x/bzImage", kvm_modules="/x")
    assert own.stacks == ("bochs/kvm",)
    wrong: tuple[dict[str, Any], ...] = (
        {"stack": ["bochs"], "l0_param": ["ept=0"]},
        {"stack": ["bochs/kvm-6.1"], "l0_param": ["ept"]},
        {"stack": ["bochs/kvm"]},
        {"stack": ["bochs/kvm-6.1"], "kernel": "/x", "kvm_modules": "/y"},
        {"kernel": "/x"},
        {"stack": ["bochs/kvm-6.1", "bochs/kvm-7.2"], "kernel_version": "6.1.1-1"},
        {"stack": ["bochs"], "kernel_version": "6.1.1-1"},
    )
    for bad in wrong:
        with pytest.raises(UsageError):
            settings(**bad)


def test_ends() -> None:
    said = "kvm: end run-error cpu=0 Input/output error reason=2\n[UNMAP ] >>PANIC<< Shutdown port: shutdown requested\n"
    end = engine().explain(1, said, True)
    assert end.verdict is Verdict.CRASH and not end.orderly and "run-error cpu=0 Input/output error" in end.text
    said = "00000000001p[UNMAP ] >>PANIC<< Shutdown port: shutdown requested\nkvm: end port value=0\n"
    assert engine().explain(1, said, True).orderly
    assert engine().last_words(b"kvm: end port value=0\n") is None


def test_appliance_fails() -> None:
    end = engine().last_words(b"kvm: go tsc=1\nkvm: fail /kvm-intel.ko: Operation not supported\n")
    assert end and end.verdict is Verdict.INFRA and "/kvm-intel.ko: Operation not supported" in end.text


@pytest.mark.parametrize(
    "text",
    [
        WARNING,
        "BUG: unable to handle page fault for address: ffffc90000",
        "kernel BUG at arch/x86/kvm/x86.c:100!",
        "general protection fault, probably for non-canonical address 0x1: 0000 [#1]",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [init:80]",
        "INFO: task init:80 blocked for more than 120 seconds.",
        "rcu: INFO: rcu_preempt self-detected stalls on CPU",
    ],
)
def test_complaints(tmp_path: Path, text: str) -> None:
    data = b"lhv 0001 plan\r\nkvm-log: " + text.encode() + b"\nlhv 0002 cap\r\n"
    assert engine().complaints(data, tmp_path) == [(15, f"Linux 6.1.1: {text}")]
    # Only when the appliance couldn't tell it any more does its console count; offsets are the end's.
    assert engine().complaints(b"abc", tmp_path) == []
    (tmp_path / "com1.log").write_text(f"[    1.000000] {text}\n")
    assert engine().complaints(b"abc", tmp_path) == [(3, f"Linux 6.1.1: {text}")]


def test_no_complaints(tmp_path: Path) -> None:
    harmless = b"kvm-log: kvm_intel: L1TF CPU bug present\nkvm-log: kvm [80]: vcpu0, guest rIP: 0x1 ignored rdmsr: 0x8b\n"
    assert engine().complaints(harmless + WARNING.encode(), tmp_path) == []


def test_blame() -> None:
    """The item during which L0 said it, whatever lhv found."""
    data = b"".join(log())
    transcript = read(Transcript(Request("k3x9", "amd64", 2, ITEMS)), data)
    starts = [transcript.records[i].start for i in range(3)]
    good = Seen(Verdict.GOOD)
    seen = {i: {ResultKey(f"item{i}", 0): good} for i in range(3)}
    blame(seen, transcript, [(starts[1] + 1, "WARN")])
    assert [next(iter(s.values())).verdict for s in seen.values()] == [Verdict.GOOD, Verdict.BAD, Verdict.GOOD]
    assert next(iter(seen[1].values())).reason == "WARN"
    blame(seen, transcript, [(len(data), "late")])
    assert next(iter(seen[2].values())).verdict is Verdict.BAD
    blame(seen, transcript, [(0, "early")])
    assert next(iter(seen[0].values())).verdict is Verdict.BAD
    crash = {0: {ResultKey("item0", 0): Seen(Verdict.CRASH, "dead")}}
    blame(crash, transcript, [(0, "WARN")])
    assert next(iter(crash[0].values())) == Seen(Verdict.CRASH, "WARN; dead")
