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
from pathlib import Path
from typing import Any

import jinja2

from harness import bundle_scripts, elf, engines, expectations, stacks
from harness.cases import mask_item
from harness.engines import Boot, Engine
from harness.errors import EnvironmentProblem, UsageError
from harness.judge import judge
from harness.options import OptionTable
from harness.plan import Case, Machine
from harness.report.html import TEMPLATES
from harness.rows import EXIT_ENVIRONMENT, EXIT_OK, Row, item_rows
from harness.session import ItemRun, LhvListener, boot, boot_folder, cmdline, limits_for
from harness.settings import ROOT, Settings
from harness.transcript import Request
from harness.verdicts import Verdict
from harness.watch import Watched
from images import ImageError, mkimage

_ID = re.compile(
    r"(?P<stack>.+)/(?P<arch>i386|amd64)/(?P<cpus>[1-8])cpu/(?P<item>opt/0x[0-9a-f]{4}|test/[^/]+/[^/]+)(/.+)?"
)
_TOKEN = "bundle"


def find_case(id: str, settings: Settings) -> Case:
    """The case that a result's or an item's id belongs to. Raises UsageError."""
    match = _ID.fullmatch(id)
    if not match:
        raise UsageError(f"--bundle {id}: not an id; one looks like bochs/amd64/2cpu/opt/0x003c/ept/cpu1")
    machine = Machine(stacks.parse(match["stack"]), match["arch"], int(match["cpus"]))
    kind, _, name = match["item"].partition("/")
    if kind == "opt":
        table = OptionTable.load(settings.tables)
        item = mask_item(table.parse(name), table)
    else:
        tests = [t for t in elf.read_tests(settings.kernel(machine.arch)) if t.runs_on(machine.arch) and t.id == name]
        if not tests:
            raise UsageError(f"--bundle {id}: there is no test {name} on {machine.arch}")
        item = tests[0].item()
    return Case(machine, item, f"{machine.name}/bundle")


def make(id: str, top: Path, settings: Settings) -> int:
    """Writes the folder; what is in it comes from a run of the very image that is in it."""
    case = find_case(id, settings)
    engine = engines.find(case.machine.stack, settings.bochs)
    if engine.skip:
        raise EnvironmentProblem(f"{engine.name}: {engine.skip}")
    # exit=bochs does nothing on other machines, where the verdict stays on the screen.
    request = Request(_TOKEN, case.machine.arch, case.machine.cpus, (case.item,))
    text = cmdline(request, settings, "bochs")
    folder = top / re.sub(r"[^A-Za-z0-9._-]+", "_", case.id)
    try:
        disk = mkimage.case_image(settings.kernel(case.machine.arch).read_bytes(), text)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        watched, rows = _run(engine, case, request, disk, settings)
        if watched.end.verdict is Verdict.INFRA:
            print(f"run_tests.py: {watched.end.text}", file=sys.stderr)
            return EXIT_ENVIRONMENT
        _write(folder, engine, case, settings, text, disk, watched, rows)
    except ImageError as e:
        raise EnvironmentProblem(str(e)) from e
    worst = max((Verdict[r["verdict"]] for r in rows), key=lambda v: v.value)
    print(f"{folder}: {worst.name}")
    return EXIT_OK


def _run(
    engine: Engine, case: Case, request: Request, disk: bytes, settings: Settings
) -> tuple[Watched, list[Row]]:
    listener = LhvListener(request)
    with boot_folder(settings.keep, case.group) as scratch:
        # Not in the boot's own folder, which must be empty.
        image = scratch / "case.img"
        image.write_bytes(disk)
        work = scratch / "run"
        work.mkdir()
        machine = Boot(case.machine.cpus, disk=image, memory_mb=settings.memory_mb)
        watched, _ = boot(engine, machine, listener, limits_for(settings.timeout, case.machine.cpus, 1), work)
    seen = judge(listener.transcript, watched.end).seen[0]
    data = expectations.of_host(engine.name, engine.version)
    return watched, item_rows(case, ItemRun(seen), data, settings, "")


def _write(
    folder: Path, engine: Engine, case: Case, settings: Settings, text: str, disk: bytes, watched: Watched, rows: list[Row]
) -> None:
    (folder / "case.img.xz").write_bytes(mkimage.compress_xz(disk))
    (folder / "actual.txt").write_bytes(watched.data)
    (folder / "expected.txt").write_text(expected_text(case))
    for name, script in bundle_scripts.scripts(case, engine, settings.memory_mb).items():
        path = folder / name
        path.write_text(script)
        if name.endswith(".sh"):
            path.chmod(0o755)
    environment = _environment(engine, case, text, disk)
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


def _environment(engine: Engine, case: Case, text: str, disk: bytes) -> dict[str, Any]:
    release = {}
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        pass
    return {
        "id": case.id, "stack": case.machine.stack.name, "engine": engine.name, "version": engine.version,
        "cpu_model": engine.model, "arch": case.machine.arch, "cpus": case.machine.cpus, "cmdline": text,
        "image_sha256": hashlib.sha256(disk).hexdigest(), "lhv": _revision(),
        "system": release.get("PRETTY_NAME", ""), "kernel": f"{platform.system()} {platform.release()}",
    }  # fmt: skip


def _revision() -> str:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--tags"], cwd=ROOT, capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
