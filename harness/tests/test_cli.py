# SPDX-License-Identifier: BSD-2-Clause
"""run_tests.py as a whole, on a fake Bochs: exit codes, KTAP, and that every trouble is told apart and never GOOD."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.settings import ROOT
from harness.tests.conftest import FAKE_BOCHS, Runner, base_command, base_environment

PREFIX = "bochs/amd64/1cpu"


def test_all_as_expected(run: Runner) -> None:
    done = run("--stack=bochs")
    assert done.code == 0, done.err
    assert set(done.verdicts.values()) == {"GOOD"} and done.document["summary"]["exit"] == 0
    assert done.out.startswith("KTAP version 1\n1..12\nok 1 bochs/amd64/1cpu/opt/0x0000 # 1 GOOD\n")
    assert "exit 0" in done.out and not done.err


def test_bad_fails(run: Runner) -> None:
    done = run("--opt=0x14", "--test=*", script={"items": {"opt/0x0014/vpid": "bad", "test/smp/two": "error"}})
    assert done.code == 1
    assert done.verdicts[f"{PREFIX}/opt/0x0014/vpid/cpu0"] == "BAD"
    assert done.verdicts[f"{PREFIX}/opt/0x0014/ept/cpu0"] == "GOOD"
    assert "  not ok 3 vpid/cpu0 # BAD: x == 1: want 0x1, got 0x2\n" in done.out
    assert f"not ok 4 {PREFIX}/test/smp/two # ERROR x == 1" in done.out


def test_the_run_goes_on_behind_crashes_and_hangs(run: Runner) -> None:
    items = {"opt/0x0000": "crash", "opt/0x0010": "hang", "test/ept/violation": "panic"}
    done = run("--opt=0,4,0x10", "--test=*", "--timeout=0.3", script={"items": items, "burn": True})
    assert done.code == 1
    verdicts = {k.removeprefix(PREFIX + "/"): v for k, v in done.verdicts.items()}
    assert verdicts == {
        "opt/0x0000/base/cpu0": "CRASH", "opt/0x0004/base/cpu0": "GOOD", "opt/0x0004/ept/cpu0": "GOOD",
        "opt/0x0010/base/cpu0": "TIMEOUT", "opt/0x0010/vpid/cpu0": "TIMEOUT", "test/ept/violation": "CRASH",
        "test/intr/window": "GOOD", "test/smp/two": "GOOD",
    }  # fmt: skip
    assert len(done.document["boots"]) == 4
    reasons = {k.removeprefix(PREFIX + "/"): v for k, v in done.reasons.items()}
    assert "3rd (13) exception" in reasons["opt/0x0000/base/cpu0"]
    assert "CPU time, after: start opt/0x0010" in reasons["opt/0x0010/base/cpu0"]
    assert reasons["test/ept/violation"] == "panic: it broke (lhv/x.c:1)"
    assert [" from=" in b["cmdline"] for b in done.document["boots"].values()] == [False, True, True, True]


def test_every_item_dies(run: Runner) -> None:
    """It ends, and nothing is GOOD."""
    done = run("--opt=0,4,0x10", script={"items": {f"opt/0x00{n}": "crash" for n in ("00", "04", "10")}})
    assert done.code == 1 and set(done.verdicts.values()) == {"CRASH"} and len(done.document["boots"]) == 3


def test_silent(run: Runner) -> None:
    done = run("--opt=0,4", "--timeout=0.3", script={"start": "silent", "burn": True})
    assert done.code == 1 and set(done.verdicts.values()) == {"SILENT"} and len(done.document["boots"]) == 1
    done = run("--opt=0,4", script={"start": "reset"})
    assert done.code == 1 and set(done.verdicts.values()) == {"SILENT"}


def test_bochs_that_dies_at_its_start(run: Runner) -> None:
    done = run("--opt=0,4", script={"start": "die"})
    assert done.code == 3 and set(done.verdicts.values()) == {"INFRA"}
    assert "# environment: Bochs didn't start (exit status 1): [ ] bochsrc:3: no such ROM" in done.out


def test_nothing_but_skips(run: Runner) -> None:
    done = run("--opt=0", script={"items": {"opt/0x0000/base": "skip:VMX"}}, *["--cpu-model=tigerlake"])
    assert done.code == 4 and set(done.verdicts.values()) == {"SKIP"}
    assert "# SKIP missing: VMX" in done.out


def test_data_on_the_host_decides(run: Runner) -> None:
    """The same log on a version that there is data on: what the model is known to have may not be missing."""
    items = {"opt/0x0004/ept": "skip:enable EPT"}
    assert run("--opt=4", script={"items": items}).code == 0
    done = run("--opt=4", script={"items": items, "version": "3.0"})
    assert done.code == 1
    assert "# SKIP: missing: enable EPT (corei7_haswell_4770 is expected to have enable EPT)" in done.out
    assert done.document["stacks"]["bochs"]["expectations"] == "bochs-3.0.toml"


def test_no_vmx_here(run: Runner) -> None:
    from harness.engines.qemu import why_no_kvm

    if not why_no_kvm():
        pytest.skip("this machine has VMX")
    done = run("--stack=qemu-kvm", "--opt=0", "--test=*")
    assert done.code == 4 and set(done.verdicts.values()) == {"SKIP"} and not done.document["boots"]
    assert all(r.startswith("environment: ") for r in done.reasons.values())


@pytest.mark.parametrize("words,part", [
    (["--nosuch"], "--nosuch"), (["--opt=0x8"], "ept_switch requires ept"), (["--opt=0x42"], "conflicts with no_intr"),
    (["--opt=0x10000"], "not defined"), (["--opt=nosuch"], "nosuch"), (["--test=nosuch"], "no such test"),
    (["--test=canary/*"], "no such test"), (["--stack=xen"], "xen"), (["--stack=bochs/kvm-9.9"], "kvm-9.9"),
    (["--arch=arm"], "arm"), (["--cpus=9"], "9"), (["--shard=3/2"], "3/2"), (["--timeout=0"], "--timeout 0"),
    (["--cpu-model=z80"], "z80"), (["-j", "x"], "-j x"), (["--iter=0x"], "--iter"), (["extra"], "extra"),
    (["--l1=/nosuch", "--expect=x"], "/nosuch"), (["--l1=/etc/passwd"], "--expect"), (["--bundle=nosuch"], "nosuch"),
    (["--l1=/etc/passwd", "--expect=x"], "neither"), (["--l1=/etc/passwd", "--expect=("], "--expect ("),
    (["--l1=/etc/passwd", "--expect="], "--expect: a value"), (["--opt="], "--opt: a value"), (["--expect=x"], "--l1"),
    (["--l1=/etc/passwd", "--expect=x", "--opt=0"], "--opt makes no sense"),
])  # fmt: skip
def test_usage(run: Runner, words: list[str], part: str) -> None:
    done = run(*words, defaults=False)
    assert done.code == 2, done.err
    assert part in done.err and not done.out and not done.document


def test_environment(run: Runner, tmp_path: Path) -> None:
    done = run("--bochs=/nosuch/bochs", "--opt=0")
    assert done.code == 3 and set(done.verdicts.values()) == {"INFRA"} and "/nosuch/bochs" in done.out
    done = run("--stack=bochs@8.1", "--opt=0")
    assert done.code == 3 and "no Bochs 8.1 here; found: 9.0" in done.out
    done = run("--bochs=/bin/true", "--opt=0")
    assert done.code == 3 and "doesn't look like Bochs" in done.out
    done = run(f"--build-dir={tmp_path}")
    assert done.code == 3 and "make" in done.err and not done.out
    done = run("--opt=0", "--junit=/proc/nosuch/r.xml")
    assert done.code == 3 and "/proc/nosuch" in done.err and not done.out


def test_missing_image(run: Runner, tmp_path: Path, fake_build_dir: Path) -> None:
    build = tmp_path / "build"
    build.mkdir()
    (build / "tables.json").write_bytes((fake_build_dir / "tables.json").read_bytes())
    done = run(f"--build-dir={build}")
    assert done.code == 3 and "lhv-amd64.elf" in done.err


def test_list(run: Runner) -> None:
    done = run("--list")
    assert done.code == 0
    lines = done.out.splitlines()
    assert f"{PREFIX}/opt/0x003c\tept+ept_switch+vpid+unrestricted" in lines
    assert f"{PREFIX}/test/ept/violation\tenable EPT\tEPT Violations" in lines
    assert "# only by its full name: test/canary/hang" in lines


def test_shards_by_command_line(run: Runner) -> None:
    def ids(*words: str) -> list[str]:
        return [line.split("\t")[0] for line in run("--list", *words).out.splitlines() if not line.startswith("#")]

    assert ids("--shard=1/2") + ids("--shard=2/2") == ids()
    done = run("--opt=0", "--shard=2/2")
    assert done.code == 4 and "nothing is selected" in done.err


def test_options_reach_lhv(run: Runner) -> None:
    done = run("--opt=0", "--iter=7", "--seed=9")
    (boot,) = done.document["boots"].values()
    assert "opt=0x0000 iter=7 cpus=1 seed=9 run=" in boot["cmdline"] and boot["cmdline"].endswith(" exit=bochs")
    assert done.document["results"][0]["repeat"].endswith("--opt 0x0000 --iter 7 --seed 9")


@pytest.mark.parametrize("jobs", [[], ["-j3"]])
def test_workers(run: Runner, jobs: list[str]) -> None:
    """However it is spread, the results are the same and in the same order."""
    items = {"opt/0x0004": "crash", "test/smp/two": "bad"}
    words = ["--arch=amd64", "--cpus=1,2"]
    one = run("-j1", *words, defaults=False, script={"items": items})
    many = run(*jobs, *words, defaults=False, script={"items": items})
    assert many.code == one.code == 1
    assert list(many.verdicts.items()) == list(one.verdicts.items())
    assert many.out.count("KTAP version 1") >= 1 and "\n1..24\n" in many.out
    assert sum(line.startswith(("ok ", "not ok ")) for line in many.out.splitlines()) == 24


def test_keep(run: Runner, tmp_path: Path) -> None:
    keep = tmp_path / "kept"
    for _ in range(2):  # a second run into the same folder never reads what the first one left
        assert run("--opt=0", f"--keep={keep}").code == 0
    folders = list(keep.iterdir())
    assert len(folders) == 2
    assert {p.name for p in folders[0].iterdir()} >= {"com1.log", "console.log", "bochsrc", "disk.img", "boot.json"}


def test_any_python(fake_build_dir: Path, tmp_path: Path) -> None:
    """A python3 without the modules hands over to Debian's."""
    bare = [sys.executable, "-S", "-I", str(ROOT / "run_tests.py"), *base_command(fake_build_dir)[2:]]
    done = subprocess.run(
        [*bare, "--list", "--opt=0"], capture_output=True, text=True, timeout=60, env=base_environment(tmp_path)
    )
    if os.path.realpath(sys.executable) == os.path.realpath("/usr/bin/python3"):
        assert done.returncode == 3 and "python3-pytest" in done.stderr
    else:
        assert done.returncode == 0, done.stderr


def test_pytest_as_people_expect(fake_build_dir: Path, tmp_path: Path) -> None:
    """`pytest harness -k ...` with the same options; what -k leaves out isn't booted either."""
    words = ["-k", "vpid and amd64 and 1cpu", "-p", "no:cacheprovider", "--no-build", f"--build-dir={fake_build_dir}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "harness/test_boot.py", f"--bochs={FAKE_BOCHS}", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
        env=base_environment(tmp_path, {"items": {"opt/0x0050/vpid": "bad"}}),
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "test_item[bochs/amd64/1cpu/opt/0x003c] PASSED" in done.stdout
    assert "unexpected: bochs/amd64/1cpu/opt/0x0050/vpid/cpu0: BAD: x == 1: want 0x1, got 0x2" in done.stdout
    assert "1 failed" in done.stdout and "i386" not in done.stdout


def test_reports_are_written(run: Runner, tmp_path: Path) -> None:
    paths = {kind: tmp_path / "out" / f"r.{kind}" for kind in ("junit", "html")}
    done = run("--opt=4", *(f"--{kind}={path}" for kind, path in paths.items()), script={"items": {"opt/0x0004/ept": "bad"}})
    assert done.code == 1
    assert f"{PREFIX}/opt/0x0004/ept/cpu0" in paths["junit"].read_text()
    assert "x == 1: want 0x1, got 0x2" in paths["html"].read_text()
    assert json.dumps(done.document)
