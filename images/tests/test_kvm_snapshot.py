# SPDX-License-Identifier: BSD-2-Clause
"""Saved states, with a program that stands in for Bochs."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from images.common import ImageError, digest
from images.kvm import job, machine, snapshot
from images.kvm.snapshot import Recipe

MEMORY_MB = 1
# Saves like Bochs does, as far as anybody looks at it. FAULT makes it misbehave.
FAKE = """#!/bin/sh
[ -n "$BOCHS_CHECKPOINT" ] || exit 0 # asked for its displays
case ${{FAULT:-}} in
appliance) echo 'kvm: init'; echo 'kvm: fail /kvm.ko: Exec format error'; exit 1 ;;
panic) echo 'nothing' ; printf '[    1.2] Kernel panic - not syncing: no init\\n---[ end Kernel panic ]---\\n' >com1.log
	sleep 60 ;;
esac
echo x >>{count}
cd "$BOCHS_CHECKPOINT" || exit 1
ram={ram}
[ "${{FAULT:-}}" = full ] && ram=1000
head -c $ram /dev/zero >memory.ram
head -c 5000 /dev/zero >config
head -c 5000 /dev/zero >cpu0
echo 1 >virt_timer
cp ../disk.img hard_drive.0.drive0.image
cp ../job.img hard_drive.0.drive1.image
echo 'checkpoint saved'
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FAULT", raising=False)
    fake = tmp_path / "bochs"
    fake.write_text(FAKE.format(count=tmp_path / "count", ram=MEMORY_MB << 20))
    fake.chmod(0o755)
    host = machine.Host(str(fake), (3, 0), False, "corei7_haswell_4770")
    return Recipe(host, "fake", b"kernel", b"initramfs", MEMORY_MB)


def boots(tmp_path: Path) -> int:
    count = tmp_path / "count"
    return len(count.read_text().split()) if count.exists() else 0


def test_made_once_and_restored(recipe: Recipe, tmp_path: Path) -> None:
    said: list[str] = []
    first = snapshot.get(recipe, said.append)
    assert snapshot.get(recipe, said.append) == first
    assert boots(tmp_path) == 1 and len(said) == 1
    work = tmp_path / "work"
    work.mkdir()
    disk = job.disk(job.Job(b"l1", ""))
    first.unpack(work, disk)
    assert (work / "state" / "hard_drive.0.drive1.image").read_bytes() == disk
    assert (work / "job.img").read_bytes() == disk
    assert (work / "state" / "memory.ram").stat().st_size == MEMORY_MB << 20
    assert (work / "disk.img").stat().st_size == (work / "state" / "hard_drive.0.drive0.image").stat().st_size > 512
    assert (work / "msrs.def").is_file()
    assert snapshot.command(recipe.host, work) == [recipe.host.path, "-q", "-r", "state"]


@pytest.mark.parametrize("change", ["kernel", "initramfs", "memory", "model", "program"])
def test_stale_is_not_used(recipe: Recipe, tmp_path: Path, change: str) -> None:
    before = snapshot.get(recipe, str)
    if change == "program":
        path = Path(recipe.host.path)
        path.write_text(path.read_text() + "# other\n")
        other = recipe
    else:
        other = {
            "kernel": replace(recipe, bzimage=b"other"),
            "initramfs": replace(recipe, initramfs=b"other"),
            "memory": replace(recipe, memory_mb=MEMORY_MB + 1),
            "model": replace(recipe, host=replace(recipe.host, model="corei7_skylake_x")),
        }[change]
    if change == "memory":  # the stand-in saves less than that
        with pytest.raises(ImageError, match="memory.ram instead of"):
            snapshot.get(other, str)
        return
    assert snapshot.get(other, str) != before
    assert boots(tmp_path) == 2


@pytest.mark.parametrize("damage", ["archive", "archive missing", "facts", "facts missing"])
def test_damaged_is_made_again(recipe: Recipe, tmp_path: Path, damage: str) -> None:
    archive = snapshot.get(recipe, str).archive
    facts = archive.parent / (archive.name.removesuffix(".tar.zst") + ".json")
    if damage == "archive":
        data = bytearray(archive.read_bytes())
        data[len(data) // 2] ^= 1
        archive.write_bytes(data)
    elif damage == "archive missing":
        archive.unlink()
    elif damage == "facts":
        facts.write_text("{")
    else:
        facts.unlink()
    archive_was_there = damage != "archive missing"
    said: list[str] = []
    again = snapshot.get(recipe, said.append)
    assert boots(tmp_path) == 2 and len(said) == 1
    assert ("made again" in said[0]) == archive_was_there
    assert json.loads(facts.read_text())["sha256"] == digest(again.archive)


@pytest.mark.parametrize(
    "fault, text",
    [
        ("appliance", "/kvm.ko: Exec format error"),
        ("panic", "Kernel panic - not syncing: no init"),
        ("full", "Bochs saved 1000 bytes as memory.ram instead of 1048576"),
    ],
)
def test_failure_leaves_nothing(recipe: Recipe, monkeypatch: pytest.MonkeyPatch, fault: str, text: str) -> None:
    monkeypatch.setenv("FAULT", fault)
    with pytest.raises(ImageError, match=text):
        snapshot.get(recipe, str)
    left = [p.name for p in snapshot.folder().iterdir()]
    assert left == [f"{recipe.key()}.lock"]
    monkeypatch.delenv("FAULT")
    assert snapshot.get(recipe, str).archive.is_file()


def test_old_ones_go(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "KEPT", 2)
    made = []
    for n in range(3):
        made.append(snapshot.get(replace(recipe, bzimage=b"%d" % n), str).archive)
        os.utime(made[-1], (1000 + n, 1000 + n))
    assert [p.exists() for p in made] == [False, True, True]
    assert len(list(snapshot.folder().glob("*.json"))) == 2
