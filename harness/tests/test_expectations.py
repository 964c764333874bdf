# SPDX-License-Identifier: BSD-2-Clause
"""The data on hosts: its form, what it means, and that the data we have still speaks of something."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from harness import expectations, plan
from harness.errors import EnvironmentProblem
from harness.expectations import FOLDER, NONE, load, of_host, parse
from harness.settings import ARCHS, Settings
from harness.verdicts import Outcome, Verdict

TEXT = """
schema = 1
[models.small]
absent = ["enable EPT"]
[[known]]
id = "amd64/*/test/ept/a*"
verdict = "BAD"
reason = "no exit"
link = "https://example.org/1"
evidence = "docs/x.md"
match = "want exit 1"
[[known]]
id = ["*/test/nmi/b", "*/test/nmi/c"]
verdict = "TIMEOUT"
reason = "hangs"
evidence = "docs/y.md"
models = ["small"]
"""
DATA = parse(TEXT, "test.toml")


def outcome(id: str, verdict: Verdict, reason: str = "", model: str = "small") -> Outcome:
    return DATA.judge(id, model, verdict, reason).outcome


def test_nothing_is_known() -> None:
    id = "amd64/1cpu/opt/0x0000/base/cpu0"
    assert outcome(id, Verdict.GOOD) is Outcome.OK
    for verdict in (Verdict.BAD, Verdict.ERROR, Verdict.CRASH, Verdict.TIMEOUT, Verdict.SILENT, Verdict.INFRA):
        assert outcome(id, verdict) is Outcome.UNEXPECTED
        assert NONE.judge(id, "small", verdict, "").outcome is Outcome.UNEXPECTED


def test_known() -> None:
    id = "amd64/2cpu/test/ept/absent"
    expected = DATA.judge(id, "small", Verdict.BAD, "want exit 1, got exit 18")
    assert (expected.outcome, expected.verdict) == (Outcome.KNOWN, Verdict.BAD)
    assert expected.known and expected.known.link == "https://example.org/1"
    assert outcome(id, Verdict.BAD, "something new") is Outcome.UNEXPECTED, "another failure isn't the known one"
    assert outcome(id, Verdict.CRASH, "want exit 1") is Outcome.UNEXPECTED
    assert outcome(id, Verdict.GOOD) is Outcome.UNEXPECTED_GOOD
    assert outcome(id, Verdict.SKIP, "missing: enable EPT") is Outcome.OK
    assert outcome("i386/2cpu/test/ept/absent", Verdict.BAD, "want exit 1") is Outcome.UNEXPECTED


def test_known_of_a_model() -> None:
    assert outcome("i386/1cpu/test/nmi/c", Verdict.TIMEOUT) is Outcome.KNOWN
    assert outcome("i386/1cpu/test/nmi/c", Verdict.TIMEOUT, model="large") is Outcome.UNEXPECTED
    assert outcome("i386/1cpu/test/nmi/c", Verdict.GOOD, model="large") is Outcome.OK


def test_known_sometimes() -> None:
    data = parse(TEXT.replace('match = "want exit 1"', 'match = "want exit 1"\nsometimes = true'), "test.toml")
    id = "amd64/2cpu/test/ept/absent"
    assert data.judge(id, "small", Verdict.BAD, "want exit 1, got exit 18").outcome is Outcome.KNOWN
    assert data.judge(id, "small", Verdict.GOOD, "").outcome is Outcome.OK
    assert data.judge(id, "small", Verdict.BAD, "something new").outcome is Outcome.UNEXPECTED
    assert data.judge(id, "small", Verdict.CRASH, "want exit 1").outcome is Outcome.UNEXPECTED
    for wrong in ("sometimes = true", 'match = "x"\nsometimes = 1'):
        with pytest.raises(EnvironmentProblem, match="sometimes"):
            parse(TEXT.replace('match = "want exit 1"', wrong), "test.toml")


def test_skips() -> None:
    id = "amd64/1cpu/opt/0x0004/ept/cpu0"
    assert outcome(id, Verdict.SKIP, "missing: enable EPT") is Outcome.OK
    assert outcome(id, Verdict.SKIP, "missing: enable VPID") is Outcome.UNEXPECTED
    assert outcome(id, Verdict.SKIP, "missing: enable VPID", model="no data") is Outcome.OK
    assert outcome(id, Verdict.SKIP, "environment: needs 2 CPUs") is Outcome.OK
    assert DATA.judge(id, "small", Verdict.SKIP, "missing: enable VPID").verdict is Verdict.GOOD


ENTRY = '[[known]]\nid = "x"\nverdict = "BAD"\nreason = "r"\nevidence = "e"\n'


@pytest.mark.parametrize("text,part", [
    ("", "schema"), ("schema = 2", "schema"), ("schema = 1\nmodel = 1", "model"), ("schema = 1\nx = [", "toml"),
    ("schema = 1\n[models.a]\nabsent = 'EPT'", "list of texts"), ("schema = 1\n[models.a]\nabsend = []", "absend"),
    ("schema = 1\n" + ENTRY + 'lnik = "x"', "lnik"), ("schema = 1\n" + ENTRY.replace("BAD", "GOOD"), "verdict"),
    ("schema = 1\n" + ENTRY.replace("BAD", "INFRA"), "verdict"), ("schema = 1\n" + ENTRY.replace('"r"', '""'), "reason"),
    ("schema = 1\n" + ENTRY.replace('evidence = "e"', ""), "evidence"), ("schema = 1\n" + ENTRY + 'match = "("', "match"),
    ("schema = 1\n" + ENTRY.replace('id = "x"', "id = []"), "id"), ("schema = 1\n" + ENTRY + "models = [1]", "models"),
])  # fmt: skip
def test_bad_data(text: str, part: str) -> None:
    assert parse("schema = 1\n" + ENTRY, "test.toml").known
    with pytest.raises(EnvironmentProblem, match=part):
        parse(text, "test.toml")


def test_most_specific_file(tmp_path: Path) -> None:
    for name in ("bochs", "bochs-2", "bochs-2.7", "qemu-tcg"):
        (tmp_path / f"{name}.toml").write_text("schema = 1\n")
    source = {v: of_host("bochs", v, tmp_path).source for v in ("2.7.1", "2.7", "2.8", "3.0", "")}
    assert source == {"2.7.1": "bochs-2.7.toml", "2.7": "bochs-2.7.toml", "2.8": "bochs-2.toml", "3.0": "bochs.toml",
                      "": "bochs.toml"}  # fmt: skip
    assert of_host("qemu-tcg", "7.2.22", tmp_path).source == "qemu-tcg.toml"
    assert of_host("qemu-kvm", "7.2.22", tmp_path) is expectations.NONE


def test_our_data_is_valid() -> None:
    files = sorted(FOLDER.glob("*.toml"))
    assert files
    for path in files:
        load(path)


def test_our_data_is_not_stale() -> None:
    """Each entry must match a result that a default run can have."""
    settings = Settings()
    if not (settings.tables.exists() and all(settings.kernel(a).exists() for a in ARCHS)):
        pytest.skip("lhv isn't built")
    ids = [
        f"{c.machine.arch}/{c.machine.cpus}cpu/{c.item.path(k)}"
        for c in plan.make(replace(settings, cpus=(1, 2, 4)))
        for k in c.item.keys(c.machine.cpus)
    ]
    for path in sorted(FOLDER.glob("*.toml")):
        for known in load(path).known:
            for glob in known.ids:
                assert any(fnmatchcase(id, glob) for id in ids), f"{path.name}: {glob} matches nothing"
