# SPDX-License-Identifier: BSD-2-Clause
"""run_tests.py bisect: the search, lists of hosts, on several fake Bochs, and on two real ones."""

from __future__ import annotations

import itertools
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness import bisect, cli, engines, halving, hosts, ids
from harness.cases import Item
from harness.errors import EnvironmentProblem, UsageError
from harness.probe import Words
from harness.rows import Row
from harness.settings import ROOT, Settings
from harness.stacks import Stack, parse
from harness.tests.conftest import FAKE_BOCHS, Runner
from images import ImageError

NEST = "bochs/xmhf-nest"


@pytest.mark.parametrize("count", range(2, 8))
def test_halving(count: int) -> None:
    """Every place of the change, and every set of hosts that can't be judged."""
    for at in range(1, count):
        for judged in itertools.product([True, False], repeat=count - 2):
            can = [True, *judged, True]
            asked: list[int] = []

            def changed(n: int) -> bool | None:
                asked.append(n)
                return n >= at if can[n] else None

            found = halving.find(count, changed)
            assert found.before == max(n for n in range(at) if can[n])
            assert found.after == min(n for n in range(at, count) if can[n])
            assert found.unjudged == tuple(range(found.before + 1, found.after))
            assert len(asked) == len(set(asked)) and 0 not in asked and count - 1 not in asked
            if all(can):
                assert len(asked) <= count.bit_length()


class FakeKernels:
    def versions(self, line: str) -> list[str]:
        if line == "5.10":
            raise ImageError("no mirror")
        return [f"{line}.{n}-1" for n in (9, 10, 11, 12)]


def test_lists() -> None:
    def names(text: str) -> Sequence[str]:
        return hosts.parse(text, FakeKernels()).names

    assert names("bochs=a,/b/c") == ("a", "/b/c")
    assert names("kernel=6.1") == ("6.1.9-1", "6.1.10-1", "6.1.11-1", "6.1.12-1")
    assert names("kernel=6.1:6.1.10-1..6.1.11-1") == ("6.1.10-1", "6.1.11-1")
    assert names("kernel=6.1:6.1.11-1..") == ("6.1.11-1", "6.1.12-1") and names("kernel=6.1:..6.1.10-1") == ("6.1.9-1", "6.1.10-1")
    for text, part in (
        ("bochs=a", "two"), ("bochs=", "wanted"), ("qemu=a,b", "wanted"), ("bochs=a,b,a", "twice"), ("kernel=9.9", "9.9"),
        ("kernel=6.1:6.1.8-1..", "there is no 6.1.8-1 (there are 6.1.9-1, "), ("kernel=6.1:6.1.11-1..6.1.10-1", "two"),
        ("kernel=6.1:6.1.11-1", "LINE"),
    ):  # fmt: skip
        with pytest.raises(UsageError) as e:
            names(text)
        assert part in str(e.value)
    with pytest.raises(EnvironmentProblem, match="no mirror"):
        names("kernel=5.10")


def test_stacks_of_lists() -> None:
    """The id may be of any stack on which that host could be."""
    kernels, builds = hosts.parse("kernel=6.1", FakeKernels()), hosts.parse("bochs=a,/b/../c")
    for spec, expected in (
        ("bochs", "bochs/kvm-6.1"), (NEST, "bochs/kvm-6.1"), ("bochs/kvm-6.1", "bochs/kvm-6.1"), ("bochs/kvm", "bochs/kvm-6.1"),
        ("bochs:tigerlake/kvm-7.2/qemu", "bochs:tigerlake/kvm-6.1/qemu"),
    ):  # fmt: skip
        assert kernels.stack(parse(spec)).name == expected
    assert builds.stack(parse("bochs@2.7:tigerlake/xmhf-nest+disk")).name == "bochs:tigerlake/xmhf-nest+disk"
    assert kernels.settings("6.1.9-1", Settings()).kernel_version == "6.1.9-1"
    assert builds.settings("a", Settings()).bochs == "a" and builds.settings("x/b", Settings()).bochs == str(Path("x/b").absolute())


def test_kernels(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All of it but the kernels."""
    verdicts = {"6.1.9-1": "GOOD", "6.1.10-1": "INFRA", "6.1.11-1": "BAD", "6.1.12-1": "CRASH"}

    class FakeProber:
        def __init__(self, settings: Settings):
            self.version = settings.kernel_version

        def ask(self, stack: Stack, words: Words, items: Sequence[Item]) -> list[list[Row]]:
            assert (stack.name, words.arch, words.cpus) == ("bochs/kvm-6.1", "amd64", 2)
            if verdicts[self.version] == "INFRA":
                raise EnvironmentProblem("can't be fetched")
            item = f"bochs/kvm-6.1/amd64/2cpu/{items[0].id}"
            return [[{"id": item, "item": item, "verdict": verdicts[self.version], "reason": ""}]]

    monkeypatch.setattr(bisect, "Prober", FakeProber)
    id, item = ids.parse("bochs/amd64/2cpu/test/a/b", ""), Item("test/a/b", ("test/a/b",), False)
    listed = hosts.parse("kernel=6.1", FakeKernels())
    search = bisect.Search(listed, listed.stack(parse("bochs")), id, item, Settings(), ["--l0-param", "x=1"])
    assert search.run() == 0
    assert capsys.readouterr().out == (
        "bochs/kvm-6.1/amd64/2cpu/test/a/b over 4 hosts\n  1 of 4, 6.1.9-1: GOOD\n  4 of 4, 6.1.12-1: CRASH\n"
        "  2 of 4, 6.1.10-1: INFRA can't be fetched; stepped around\n  3 of 4, 6.1.11-1: BAD\n"
        "it changes somewhere between, for these can't be judged: 6.1.10-1\n"
        "last as at the beginning: 1 of 4, 6.1.9-1: GOOD\nfirst that isn't: 3 of 4, 6.1.11-1: BAD\n"
        "repeat: ./run_tests.py --stack bochs/kvm-6.1 --cpu-model corei7_haswell_4770 --arch amd64 --cpus 2 --test a/b"
        " --kernel-version 6.1.9-1 --l0-param x=1\n"
        "repeat: ./run_tests.py --stack bochs/kvm-6.1 --cpu-model corei7_haswell_4770 --arch amd64 --cpus 2 --test a/b"
        " --kernel-version 6.1.11-1 --l0-param x=1\n"
    )


@pytest.fixture
def builds(tmp_path: Path, fake_build_dir: Path) -> Builds:
    return Builds(tmp_path, fake_build_dir)


class Builds:
    """Fake Bochs, each with a behaviour of its own."""

    def __init__(self, tmp: Path, build: Path):
        self._tmp, self._build = tmp, build

    def run(self, id: str, scripts: Sequence[dict[str, Any]], *words: str) -> subprocess.CompletedProcess[str]:
        paths = []
        for n, script in enumerate(scripts):
            paths.append(path := self._tmp / f"b{n}")
            path.write_text(f"#!/bin/sh\nFAKE_BOCHS={shlex.quote(json.dumps(script))} exec {sys.executable} {FAKE_BOCHS} \"$@\"\n")
            path.chmod(0o755)
        command = [sys.executable, str(ROOT / "run_tests.py"), "bisect", id, f"--over=bochs={','.join(map(str, paths))}"]
        command += [f"--build-dir={self._build}", "--no-build", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)


def items(what: str, name: str = "test/smp/two") -> dict[str, Any]:
    return {"items": {name: what}}


def test_builds(builds: Builds, tmp_path: Path) -> None:
    scripts = [items("good"), {"start": "die"}, items("good"), items("skip:X"), items("crash"), items("bad")]
    done = builds.run("bochs/amd64/1cpu/test/smp/two", scripts)
    assert done.returncode == 0, done.stderr
    lines = [line.replace(f"{tmp_path}/", "") for line in done.stdout.splitlines()]
    assert lines[:5] == [
        "bochs/amd64/1cpu/test/smp/two over 6 hosts", "  1 of 6, b0: GOOD", "  6 of 6, b5: BAD x == 1: want 0x1, got 0x2",
        "  3 of 6, b2: GOOD", "  4 of 6, b3: SKIP missing: X; stepped around",
    ]  # fmt: skip
    assert lines[5].startswith("  5 of 6, b4: CRASH Bochs ended") and lines[8].startswith("first that isn't: 5 of 6, b4: CRASH")
    assert "it changes somewhere between, for these can't be judged: b3" in lines
    assert "last as at the beginning: 3 of 6, b2: GOOD" in lines
    assert "--stack bochs --arch amd64 --cpus 1 --test smp/two --bochs b2 --build-dir" in done.stdout.replace(f"{tmp_path}/", "")


def test_a_result_and_an_item(builds: Builds) -> None:
    """Of a mask, one bit's verdict or the worst; a bit that is skipped says nothing of the others."""
    scripts = [items("good"), items("bad", "opt/0x0014/ept"), items("bad", "opt/0x0014/vpid")]
    done = builds.run(f"{NEST}/amd64/2cpu/opt/0x0014/vpid/cpu1", scripts)
    assert done.returncode == 0 and "first that isn't: 3 of 3" in done.stdout
    done = builds.run(f"{NEST}/amd64/2cpu/opt/0x0014", scripts)
    assert done.returncode == 0 and "first that isn't: 2 of 3" in done.stdout
    done = builds.run(f"{NEST}/amd64/2cpu/opt/0x0014", [items("good"), items("skip:X", "opt/0x0014/vpid")])
    assert done.returncode == 4 and "both ends are GOOD" in done.stdout
    done = builds.run(f"{NEST}/amd64/2cpu/opt/0x0014/vpid/cpu7", scripts)
    assert done.returncode == 2 and "no result vpid/cpu7" in done.stderr


@pytest.mark.parametrize("ends,code,part", [
    (("bad", "bad"), 4, "both ends are BAD"), (("good", "skip:X"), 4, "one of the ends can't be judged"),
])  # fmt: skip
def test_ends(builds: Builds, ends: tuple[str, str], code: int, part: str) -> None:
    done = builds.run("bochs/amd64/1cpu/test/smp/two", [items(what) for what in ends])
    assert done.returncode == code and part in done.stdout
    done = builds.run("bochs/amd64/1cpu/test/smp/two", [items(ends[0]), {"start": "die"}])
    assert done.returncode == 3 and "INFRA Bochs didn't start" not in done.stderr and "can't be judged" in done.stdout


@pytest.mark.parametrize("words,part", [
    (["bochs/amd64/1cpu/opt/0x0004"], "--over"), (["nosuch", "--over=bochs=a,b"], "not an id"),
    (["bochs/amd64/1cpu/opt/0x0004", "--over=x"], "--over x"),
    (["bochs/amd64/1cpu/opt/0x0004", "--over=bochs=a,b"], "--bochs: --over is about that"),
])  # fmt: skip
def test_usage(run: Runner, words: list[str], part: str) -> None:
    done = run(*words, command="bisect", defaults=False, reports=False)
    assert done.code == 2 and part in done.err and not done.out


def test_only_bochs_has_builds(builds: Builds) -> None:
    done = builds.run("qemu-tcg/amd64/1cpu/opt/0x0004", [{}, {}])
    assert done.returncode == 2 and "what can be searched" in done.stderr


def test_for_real(capsys: pytest.CaptureFixture[str]) -> None:
    """An NMI's exit: wrong in Debian's 2.7, right in 3.0."""
    if not Settings().kernel("amd64").exists():
        pytest.skip("lhv isn't built")
    paths = []
    for spec in ("bochs@2.7", "bochs@3.0"):
        try:
            paths.append(engines.find(parse(spec)).path)  # type: ignore[attr-defined]
        except EnvironmentProblem as e:
            pytest.skip(str(e))
    assert cli.main(["bisect", "bochs/amd64/1cpu/test/nmi/virtual_exit", f"--over=bochs={','.join(paths)}", "--no-build"]) == 0
    assert f"first that isn't: 2 of 2, {paths[1]}: GOOD" in capsys.readouterr().out
