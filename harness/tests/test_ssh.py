# SPDX-License-Identifier: BSD-2-Clause
"""-j ssh=HOST: the tree is copied to the host and the boots run there. The host is a folder; ssh is a shell script."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.cli_args import parse_jobs
from harness.errors import UsageError
from harness.settings import ROOT
from harness.tests.conftest import base_command, base_environment

SSH = """#!/bin/sh
# ssh -C HOST COMMAND
for last; do :; done
cd {home} && exec sh -c "$last"
"""


def test_words() -> None:
    assert parse_jobs(["2", "ssh=a,2*ssh=me@b"]) == ["popen", "popen"] + [
        f"ssh={host}//python=/usr/bin/python3//chdir=lhv-harness" for host in ("a", "me@b", "me@b")
    ]
    for word in ("0", "-1", "ssh=", "ssh=a b", "0*ssh=a", "popen", "ssh=a//chdir=/"):
        with pytest.raises(UsageError):
            parse_jobs([word])


def test_runs_there(tmp_path: Path, fake_build_dir: Path) -> None:
    home, bin, scratch = (tmp_path / n for n in ("home", "bin", "scratch"))
    for folder in (home, bin, scratch):
        folder.mkdir()
    (bin / "ssh").write_text(SSH.format(home=home))
    (bin / "ssh").chmod(0o755)
    environment = base_environment(scratch, {"items": {"opt/0x0004/ept": "bad"}})
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PATH"] = f"{bin}:{os.environ['PATH']}"
    # The same on both sides here; on a real host the tree's own build would be used.
    command = [*base_command(fake_build_dir), "-jssh=one,ssh=two", "--arch=amd64", "--opt=0,4"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "# 9 results: 6 GOOD, 3 BAD\n" in done.stdout
    copy = home / "lhv-harness" / ROOT.name
    assert list(copy.rglob("*.pyc")), "the copy's code was run"
    assert not (copy / ".git").exists()
