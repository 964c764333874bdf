# SPDX-License-Identifier: BSD-2-Clause
"""The list of mutants fits the sources, and what is made of a run (make mutants runs them)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import breaks, mutants, plan
from harness.mutants import Fate, Mutant
from harness.settings import Settings

MUTANTS = mutants.load()


def test_names_are_unique() -> None:
    names = [m.name for m in MUTANTS]
    assert names and len(set(names)) == len(names)


@pytest.mark.parametrize("mutant", MUTANTS, ids=[m.name for m in MUTANTS])
def test_applies(mutant: Mutant) -> None:
    # The table says how L0 treats each field.
    assert mutant.file.startswith("xmhf-nest/") or mutant.file == "lib/x86/vmcs_fields.def"
    assert (breaks.ROOT / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.old != mutant.new


def test_what_is_run_is_legal() -> None:
    """Masks that lhv takes, and tests that are there: otherwise nothing is run, and nothing noticed."""
    settings = Settings()
    if not all(path.exists() for path in (settings.tables, settings.kernel("i386"), settings.kernel("amd64"))):
        pytest.skip("lhv isn't built")
    for name, words in [(m.name, m.run) for m in MUTANTS] + [(b.name, b.run) for b in breaks.load()]:
        given = dict(zip(words[::2], words[1::2], strict=True))
        archs = tuple(given.get("--arch", "i386,amd64").split(","))
        wanted = {key: tuple(filter(None, given.get(f"--{key[:-1]}", "").split(","))) for key in ("opts", "tests")}
        if any(wanted.values()):
            items = plan.items_of(replace(settings, archs=archs, **wanted))
            assert any(items.values()), name


def row(id: str, verdict: str, outcome: str) -> dict[str, Any]:
    return {"id": f"bochs/xmhf-nest/{id}", "stack": "bochs/xmhf-nest", "verdict": verdict, "outcome": outcome}


def test_noticed() -> None:
    assert mutants.noticed_by([row("a", "GOOD", "ok"), row("b", "BAD", "known"), row("c", "SKIP", "ok")]) == []
    found = mutants.noticed_by([row("a", "BAD", "unexpected"), row("b", "GOOD", "unexpected-good"), row("c", "INFRA", "unexpected")])
    assert found == ["a BAD", "b GOOD"]


def test_fates() -> None:
    plain, same = Mutant("n", "xmhf-nest/a.c", "a", "b"), Mutant("n", "xmhf-nest/a.c", "a", "b", equivalent="because")
    assert Fate(plain, ["x BAD"]).ok and not Fate(plain).ok and Fate(plain).text() == "survives"
    assert Fate(same).ok and not Fate(same, ["x BAD"]).ok
    assert not Fate(plain, ["x BAD"], "no code").ok


def test_runs_until_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "xmhf-nest").mkdir()
    file = tmp_path / "xmhf-nest" / "a.c"
    file.write_text("one two")
    ran: list[tuple[str, ...]] = []

    def results_of(options: tuple[str, ...], tree: Path, stack: str) -> list[dict[str, Any]]:
        ran.append(tuple(options))
        assert (tree / "xmhf-nest" / "a.c").read_text() == "one 2"
        return [row("x", "BAD", "unexpected")] if len(ran) == 2 else []

    monkeypatch.setattr(breaks, "results_of", results_of)
    fate = mutants.try_mutant(Mutant("n", "xmhf-nest/a.c", "two", "2", ("--opt", "0")), tmp_path)
    assert fate.ok and ran == [("--opt", "0"), mutants.RUNS[0]]
    assert file.read_text() == "one two"
    assert "0 times" in mutants.try_mutant(Mutant("n", "xmhf-nest/a.c", "three", "3"), tmp_path).trouble
