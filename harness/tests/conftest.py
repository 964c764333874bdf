# SPDX-License-Identifier: BSD-2-Clause
"""What the self-tests share: a build folder without a compiler, and run_tests.py with a fake Bochs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.settings import ROOT
from harness.tests import fake_build

FAKE_BOCHS = Path(__file__).parent / "fake_bochs.py"


@pytest.fixture(scope="session")
def fake_build_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_build.make(tmp_path_factory.mktemp("fake") / "build")


@dataclass
class Done:
    code: int
    out: str
    err: str
    document: dict[str, Any] = field(default_factory=dict)

    @property
    def verdicts(self) -> dict[str, str]:
        return {r["id"]: r["verdict"] for r in self.document.get("results", [])}

    @property
    def reasons(self) -> dict[str, str]:
        return {r["id"]: r["reason"] for r in self.document.get("results", [])}


Runner = Callable[..., Done]


def base_command(build: Path) -> list[str]:
    return [sys.executable, str(ROOT / "run_tests.py"), "--no-build", f"--build-dir={build}", f"--bochs={FAKE_BOCHS}"]


def base_environment(tmp: Path, script: dict[str, Any] | None = None) -> dict[str, str]:
    """Temporary files go where the test can see what was left behind."""
    return {**os.environ, "FAKE_BOCHS": json.dumps(script or {}), "TMPDIR": str(tmp)}


@pytest.fixture
def run(tmp_path: Path, fake_build_dir: Path) -> Runner:
    """Runs run_tests.py: amd64 and one CPU if nothing else is said. Sees to it that nothing is left behind.
    command: its first word, if it's one that isn't about a run of its own."""

    def runner(
        *words: str, script: dict[str, Any] | None = None, defaults: bool = True, command: str = "", reports: bool = True
    ) -> Done:
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        report = tmp_path / "report.json"
        report.unlink(missing_ok=True)
        line = [*base_command(fake_build_dir), *([f"--json={report}"] if reports else []), *words]
        if defaults:
            line += ["--arch=amd64", "--cpus=1", "-j1"]
        if command:
            line.insert(line.index(str(ROOT / "run_tests.py")) + 1, command)
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, env=base_environment(scratch, script))
        left = [p for p in scratch.rglob("*") if p.is_file()]
        assert not left, "temporary files were left behind"
        text = report.read_text() if report.exists() else ""
        return Done(done.returncode, done.stdout, done.stderr, json.loads(text) if text else {})

    return runner
