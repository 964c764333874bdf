# SPDX-License-Identifier: BSD-2-Clause
"""--bundle: a folder with one case, run once more by itself, and all that a bug report needs."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2

from harness import bundle_scripts, expectations, ids, layers, stacks
from harness.engines import Boot, Engine
from harness.errors import EnvironmentProblem, UsageError
from harness.judge import judge
from harness.engines.kvm import KvmEngine
from harness.layers import LayeredEngine
from harness.plan import Case, Machine
from harness.report.html import TEMPLATES
from harness.rows import EXIT_ENVIRONMENT, EXIT_OK, Row, item_rows
from harness.session import ItemRun, LhvListener, blame, boot, boot_folder, cmdline, limits_for
from harness.settings import ROOT, Settings, check_layers
from harness.transcript import Request
from harness.verdicts import Verdict
from harness.watch import Watched
from images import ImageError, mkimage
from images.common import read_file

_TOKEN = "bundle"


def find_case(id: str, settings: Settings) -> Case:
    """The case that a result's or an item's id belongs to. Raises UsageError."""
    words = ids.parse(id, "--bundle")
    machine = Machine(stacks.parse(words.stack), words.arch, words.cpus)
    check_layers(replace(settings, stacks=(words.stack,), l1_boot=""))
    if not machine.stack.runs(machine.arch):
        raise UsageError(f"--bundle {id}: {machine.stack.layers[-1]} doesn't run {machine.arch}")
    item = ids.item_of(words, settings, "--bundle")
    return Case(machine, item, f"{machine.name}/bundle")


def make(id: str, top: Path, settings: Settings) -> int:
    """Writes the folder; what is in it comes from a run of the very image that is in it."""
    case = find_case(id, settings)
    engine = layers.find(case.machine.stack, settings)
    kernel = settings.kernel(case.machine.arch)
    if engine.skip:
        raise EnvironmentProblem(f"{engine.name}: {engine.skip}")
    # exit=bochs does nothing on other machines, where the verdict stays on the screen.
    request = Request(_TOKEN, case.machine.arch, case.machine.cpus, (case.item,))
    text = cmdline(request, settings, "bochs")
    folder = top / re.sub(r"[^A-Za-z0-9._-]+", "_", case.id)
    try:
        disks = images_of(engine, kernel, text)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        watched, rows = _run(engine, case, request, disks, text, settings)
        if watched.end.verdict is Verdict.INFRA:
            print(f"run_tests.py: {watched.end.text}", file=sys.stderr)
            return EXIT_ENVIRONMENT
        _write(folder, engine, case, settings, text, disks, watched, rows)
    except ImageError as e:
        raise EnvironmentProblem(str(e)) from e
    worst = max((Verdict[r["verdict"]] for r in rows), key=lambda v: v.value)
    print(f"{folder}: {worst.name}")
    return EXIT_OK


def images_of(engine: Engine, kernel: Path, text: str) -> list[bytes]:
    """The disks, first to boot first: whatever has layers needs nothing but these to repeat it."""
    lhv = read_file(kernel)
    if not isinstance(engine, LayeredEngine):
        return [mkimage.case_image(lhv, text)]
    l0 = read_file(engine.layer)
    if engine.foreign:
        return [l0, mkimage.case_image(lhv, text)]
    own = own_words(engine)
    if engine.way == "module":
        return [mkimage.case_image(l0, own, [(lhv, text)])]
    return [mkimage.case_image(l0, own), mkimage.case_image(lhv, text)]


def own_words(engine: LayeredEngine) -> str:
    """The command line of a layer of ours."""
    return "" if engine.foreign else " ".join(("exit=bochs", *engine.options))


def _machine(engine: Engine, case: Case, disks: list[bytes], text: str, settings: Settings, scratch: Path) -> Boot:
    if case.machine.stack.kvm:  # the VMM has no BIOS: it gets what is on the disk
        return Boot(case.machine.cpus, settings.kernel(case.machine.arch), text, memory_mb=settings.memory_mb)
    # Not in the boot's own folder, which must be empty.
    image = scratch / "case.img"
    image.write_bytes(disks[0])
    return Boot(case.machine.cpus, disk=image, memory_mb=settings.memory_mb, second=disks[1] if disks[1:] else None)


def _run(
    engine: Engine, case: Case, request: Request, disks: list[bytes], text: str, settings: Settings
) -> tuple[Watched, list[Row]]:
    listener = LhvListener(request, engine.last_words, engine.patience)
    with boot_folder(settings.keep, case.group) as scratch:
        machine = _machine(engine, case, disks, text, settings, scratch)
        work = scratch / "run"
        work.mkdir()
        host = engine.engine if isinstance(engine, LayeredEngine) else engine  # the layer is on the disk
        limits = limits_for(settings.timeout * engine.slowness, case.machine.cpus, 1)
        watched, _ = boot(host, machine, listener, limits, work)
        complaints = engine.complaints(watched.data, work)
    done = listener.transcript.done
    if watched.end.verdict is not Verdict.INFRA:
        watched.end = engine.last_words(watched.data[done.end if done else 0 :]) or watched.end
    judgement = judge(listener.transcript, watched.end)
    blame(judgement.seen, listener.transcript, complaints)
    seen = judgement.seen[0]
    data = expectations.of_stack(engine.name, engine.version, case.machine.stack.layers)
    return watched, item_rows(case, ItemRun(seen), data, settings, "")


def _write(
    folder: Path, engine: Engine, case: Case, settings: Settings, text: str, disks: list[bytes], watched: Watched,
    rows: list[Row],
) -> None:  # fmt: skip
    for name, disk in zip(bundle_scripts.DISKS, disks):
        (folder / f"{name}.xz").write_bytes(mkimage.compress_xz(disk))
    (folder / "actual.txt").write_bytes(watched.data)
    (folder / "expected.txt").write_text(expected_text(case))
    if isinstance(engine, KvmEngine):
        (folder / f"{bundle_scripts.KERNEL}.xz").write_bytes(mkimage.compress_xz(read_file(settings.kernel(case.machine.arch))))
    for name, script in bundle_scripts.scripts(case, engine, settings.memory_mb, len(disks), text).items():
        path = folder / name
        path.write_text(script)
        if name.endswith(".sh"):
            path.chmod(0o755)
    environment = _environment(engine, case, text, disks)
    (folder / "env.json").write_text(json.dumps(environment, indent=1) + "\n")
    bad = [r for r in rows if r["verdict"] != Verdict.GOOD.name]
    template = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    ).get_template("REPORT.md.j2")
    report = template.render(case=case, env=environment, rows=rows, bad=bad, end=watched.end.text, cmdline=text)
    (folder / "REPORT.md").write_text(report)


def expected_text(case: Case) -> str:
    """What a right host makes lhv print, without sequence numbers and checksums."""
    return "".join(
        f"result id={key.id} cpu={key.cpu} verdict=GOOD\n" for key in case.item.keys(case.machine.cpus)
    )


def _environment(engine: Engine, case: Case, text: str, disks: list[bytes]) -> dict[str, Any]:
    release = {}
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        pass
    return {
        "id": case.id, "stack": case.machine.stack.name, "engine": engine.name, "version": engine.version,
        "cpu_model": engine.model, "arch": case.machine.arch, "cpus": case.machine.cpus, "cmdline": text,
        "image_sha256": hashlib.sha256(disks[0]).hexdigest(), "lhv": _revision(),
        "system": release.get("PRETTY_NAME", ""), "kernel": f"{platform.system()} {platform.release()}",
        "second_sha256": hashlib.sha256(disks[1]).hexdigest() if disks[1:] else None, **_layer(engine, case),
    }  # fmt: skip


def _layer(engine: Engine, case: Case) -> dict[str, Any]:
    if isinstance(engine, KvmEngine):
        return {"layer": case.machine.stack.layers[-1], "l0": engine.l0, "l0_cmdline": "", "l1_boot": "kernel"}
    if not isinstance(engine, LayeredEngine):
        return {"layer": None, "l0": None, "l0_cmdline": None, "l1_boot": None}
    layer = case.machine.stack.layers[-1]
    return {"layer": layer, "l0": engine.layer.name, "l0_cmdline": own_words(engine), "l1_boot": engine.way}


def _revision() -> str:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--tags"], cwd=ROOT, capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
