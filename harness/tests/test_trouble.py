# SPDX-License-Identifier: BSD-2-Clause
"""^C, kill, full disks, floods: what is left behind, and that nothing of it is GOOD."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import session
from harness.judge import End
from harness.process import Child
from harness.session import LhvListener
from harness.startlock import listens, start_lock
from harness.tests.conftest import Runner, base_command, base_environment
from harness.transcript import Request
from harness.verdicts import Verdict
from harness.watch import Limits, watch

HANG = {"items": {"opt/0x0004": "hang"}}
SLEEPER = ("/bin/sleep", "1000")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(what: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.02)
    return what()


def emulators(scratch: Path) -> list[int]:
    """Processes that run in a folder below scratch."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if str(scratch) in os.readlink(entry / "cwd"):
                    found.append(int(entry.name))
            except OSError:
                pass
    return found


@pytest.mark.parametrize("number,jobs,whole_group", [
    (signal.SIGINT, "-j1", False), (signal.SIGTERM, "-j1", False), (signal.SIGINT, "-j2", True), (signal.SIGINT, "-j2", False), (signal.SIGKILL, "-j1", False),
])  # fmt: skip
def test_interrupt(fake_build_dir: Path, tmp_path: Path, number: int, jobs: str, whole_group: bool) -> None:
    """whole_group: as ^C at a terminal does."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    report = tmp_path / "r.json"
    words = ["--arch=amd64", "--cpus=1,2", "--opt=0,4", jobs, f"--json={report}"]
    process = subprocess.Popen(
        [*base_command(fake_build_dir), *words], env=base_environment(scratch, HANG), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        hung = wait_for(lambda: any("start n=1" in p.read_text() for p in scratch.rglob("com1.log")))
        assert hung and emulators(scratch)
        (os.killpg if whole_group else os.kill)(process.pid, number)
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert wait_for(lambda: not emulators(scratch), 5.0), "an emulator was left behind"
    if number == signal.SIGKILL:
        return
    assert process.returncode == 130
    assert not list(scratch.rglob("*.lock")) and not list(scratch.rglob("com1.log"))
    document = json.loads(report.read_text())
    assert document["summary"]["interrupted"] and document["summary"]["exit"] == 130
    assert "GOOD" not in {r["verdict"] for r in document["results"]}


def test_no_room_for_the_report(run: Runner) -> None:
    done = run("--opt=0", "--junit=/dev/full")
    assert done.code == 3 and "No space left on device" in done.err
    assert Path("/dev/full").is_char_device()


def test_full_disk_while_an_emulator_runs(tmp_path: Path, fake_build_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that stops because the disk is full isn't taken for a crash of the host."""
    from harness import engines
    from harness.cases import mask_item
    from harness.settings import Settings
    from harness.stacks import parse
    from harness.tests.conftest import FAKE_BOCHS
    from harness.tests.fake_lhv import TABLE

    monkeypatch.setenv("FAKE_BOCHS", json.dumps({"items": {"opt/0x0004": "crash"}}))
    monkeypatch.setattr(session, "_full", lambda folder: True)
    engine = engines.find(parse("bochs"), str(FAKE_BOCHS))
    items = [mask_item(m, TABLE) for m in (0, 4)]
    group = session.run_group(engine, "amd64", 1, items, Settings(build=fake_build_dir), "x")
    seen = {s.verdict for run in group.items.values() for s in run.seen.values()}
    assert seen == {Verdict.INFRA} and len(group.boots) == 1


def test_no_room_for_the_image(tmp_path: Path, fake_build_dir: Path) -> None:
    """A file system that is full for real, where we may mount one."""
    mount = tmp_path / "full"
    mount.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(mount)], capture_output=True)
    if done.returncode:
        pytest.skip("can't mount a file system here")
    try:
        ran = subprocess.run(
            [*base_command(fake_build_dir), "--arch=amd64", "--cpus=1", "--opt=0", "-j1"],
            env=base_environment(mount), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert ran.returncode == 3 and "No space left on device" in ran.stdout
        assert not list(mount.iterdir())
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_children_never_outlive(tmp_path: Path) -> None:
    with Child(SLEEPER, tmp_path, tmp_path / "out") as child:
        assert child.poll() is None and alive(child.pid)
    assert not alive(child.pid)
    with pytest.raises(ZeroDivisionError), Child(SLEEPER, tmp_path, tmp_path / "out") as child:
        1 / 0
    assert not alive(child.pid)


def test_children_of_children_too(tmp_path: Path) -> None:
    with Child(("/bin/sh", "-c", "sleep 1000 & echo $!; wait"), tmp_path, tmp_path / "out") as child:
        assert wait_for(lambda: (tmp_path / "out").read_text().endswith("\n"))
        grandchild = int((tmp_path / "out").read_text())
        assert alive(grandchild) and child.poll() is None
    assert wait_for(lambda: not alive(grandchild), 5.0)


def test_cpu_time_and_status(tmp_path: Path) -> None:
    with Child(("/bin/sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exit 7"), tmp_path, tmp_path / "o") as c:
        assert wait_for(lambda: c.poll() is not None)
        assert c.poll() == 7 and c.cpu_seconds > 0


def watched(tmp_path: Path, script: str, limits: Limits) -> End:
    listener = LhvListener(Request("t", "amd64", 1, ()))
    with Child(("/bin/sh", "-c", script), tmp_path, tmp_path / "out") as child:
        return watch(child, tmp_path / "com1", listener, limits, lambda s: End(Verdict.CRASH, f"status {s}")).end


def test_limits(tmp_path: Path) -> None:
    spin = "while :; do :; done"
    assert "of CPU time, from the start" in watched(tmp_path, spin, Limits(0.2, 60, 60)).text
    assert "nothing for" in watched(tmp_path, "sleep 100", Limits(60, 0.3, 60)).text
    assert "not done in" in watched(tmp_path, spin, Limits(60, 60, 0.2)).text
    assert watched(tmp_path, "exit 3", Limits(60, 60, 60)).text == "status 3"


def test_flood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.watch.FLOOD", 1 << 20)
    end = watched(tmp_path, "while :; do cat /proc/kallsyms >> com1; done", Limits(60, 60, 60))
    assert end.verdict is Verdict.TIMEOUT and "MiB on COM1" in end.text


def test_one_start_at_a_time(tmp_path: Path) -> None:
    with start_lock():
        held = subprocess.Popen(
            ["/usr/bin/python3", "-c", "from harness.startlock import *\nwith start_lock(): print('mine', flush=True)"],
            stdout=subprocess.PIPE, cwd=Path(session.__file__).parents[1],
        )  # fmt: skip
        time.sleep(0.3)
        assert held.poll() is None
    assert held.communicate(timeout=10)[0] == b"mine\n"
    program = "import socket,time; s=socket.socket(); s.bind(('127.0.0.1',0)); s.listen(); time.sleep(100)"
    with Child(("/usr/bin/python3", "-c", program), tmp_path, tmp_path / "out") as child:
        assert wait_for(lambda: listens(child.pid), 10.0)
    assert not listens(os.getpid()) and not listens(child.pid)
