# SPDX-License-Identifier: BSD-2-Clause
"""From a recorded serial log to verdicts: every kind of damage, and none of it is ever GOOD."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from harness.cases import Item, mask_item
from harness.judge import End, Judgement, judge, read
from harness.tests.fake_lhv import TABLE, Crash, Guest, Hang
from harness.transcript import Request, Transcript
from harness.verdicts import Verdict
from harness.wire import encode

CRASHED = End(Verdict.CRASH, "the emulator ended")
ITEMS = (mask_item(0x04, TABLE), mask_item(0x14, TABLE), Item("test/ept/violation", ("test/ept/violation",), False))
LAST = "test/ept/violation"


def log(behaviour: Mapping[str, str] | None = None, *, cpus: int = 2, first: int = 0) -> list[bytes]:
    options = {"opt": "0x4,0x14", "test": "ept/violation", "cpus": str(cpus), "run": "k3x9", "from": str(first)}
    out = []
    try:
        for line in Guest(options, "amd64", behaviour or {}).run():
            out.append(line)
    except (Crash, Hang):
        pass
    return out


def judged(data: bytes | list[bytes], end: End = CRASHED, *, cpus: int = 2, first: int = 0) -> Judgement:
    raw = data if isinstance(data, bytes) else b"".join(data)
    return judge(read(Transcript(Request("k3x9", "amd64", cpus, ITEMS, first)), raw), end)


def verdicts(judgement: Judgement) -> dict[str, str]:
    return {f"{k.id}@{k.cpu}": s.verdict.name for seen in judgement.seen.values() for k, s in seen.items()}


def all_are(judgement: Judgement, verdict: str) -> bool:
    return set(verdicts(judgement).values()) == {verdict} and len(verdicts(judgement)) == 11


def test_all_good() -> None:
    judgement = judged(log())
    assert all_are(judgement, "GOOD") and judgement.resume is None


def test_what_comes_after_done_is_nothing() -> None:
    assert all_are(judged([*log(), b"garbage\n", *log()]), "GOOD")


def test_bad_with_its_reason() -> None:
    judgement = judged(log({"opt/0x0014/vpid": "bad", LAST: "skip:enable VPID", "opt/0x0004/ept": "error"}))
    seen = {k.id: s for found in judgement.seen.values() for k, s in found.items()}
    assert seen["opt/0x0014/vpid"].verdict is Verdict.BAD
    assert seen["opt/0x0014/vpid"].reason == "x == 1: want 0x1, got 0x2"
    assert seen["opt/0x0014/vpid"].fails[0]["at"] == "a.c:3"
    assert seen[LAST].verdict is Verdict.SKIP and seen[LAST].reason == "missing: enable VPID"
    assert seen["opt/0x0004/ept"].verdict is Verdict.ERROR


def test_nothing() -> None:
    assert all_are(judged(b""), "SILENT")
    assert all_are(judged(b"SeaBIOS\r\nkvm: exiting\n" * 100), "SILENT")
    assert all_are(judged(b"", End(Verdict.INFRA, "no ROM")), "INFRA")


def test_no_plan() -> None:
    data = [encode(1, "start", n=0, id="opt/0x0004", tsc=1), *log()[3:]]
    assert all_are(judged(data), "ERROR")


def test_plan_alone() -> None:
    judgement = judged(log()[:1])
    assert all_are(judgement, "CRASH") and judgement.resume is None


def test_no_done() -> None:
    judgement = judged(log({"done": "missing"}))
    seen = verdicts(judgement)
    assert seen.pop(f"{LAST}@0") == "CRASH" and set(seen.values()) == {"GOOD"}


@pytest.mark.parametrize("field,value", [
    ("run=k3x9", "run=k3x8"), ("arch=amd64", "arch=i386"), ("cpus=2", "cpus=1"), ("items=3", "items=2"),
    ("from=0", "from=1"), ("proto=1", "proto=2"),
])  # fmt: skip
def test_another_run(field: str, value: str) -> None:
    head = log()[0].rsplit(b" ~", 1)[0].decode()
    assert field in head
    fields = dict(word.split("=", 1) for word in head.replace(field, value).replace('"A model"', "x").split()[3:])
    assert all_are(judged([encode(1, "plan", **fields), *log()[1:]]), "ERROR")


def test_crash_and_hang() -> None:
    for what, end in (("crash", CRASHED), ("hang", End(Verdict.TIMEOUT, "nothing for 20 s"))):
        judgement = judged(log({"opt/0x0014": what}), end)
        assert judgement.resume == 2
        assert {s.verdict for s in judgement.seen[0].values()} == {Verdict.GOOD}
        assert {s.verdict for s in judgement.seen[1].values()} == {end.verdict}
        assert 2 not in judgement.seen


def test_death_of_the_last_item_needs_no_other_boot() -> None:
    judgement = judged(log({LAST: "crash"}))
    assert judgement.resume is None and verdicts(judgement)[f"{LAST}@0"] == "CRASH"


def test_bad_before_a_crash_stays_bad() -> None:
    data = log({"opt/0x0014/base": "bad", "opt/0x0014": "noend"})
    cut = next(i for i, line in enumerate(data) if b"id=opt/0x0014/ept" in line)
    judgement = judged(data[:cut])
    found = {f"{k.id}@{k.cpu}": s.verdict.name for k, s in judgement.seen[1].items()}
    assert found["opt/0x0014/base@0"] == "BAD" and found["opt/0x0014/vpid@1"] == "CRASH"


def test_panic() -> None:
    judgement = judged(log({"opt/0x0014": "panic"}))
    assert judgement.resume == 2
    assert all(s.verdict is Verdict.CRASH and "it broke" in s.reason for s in judgement.seen[1].values())


def test_panic_before_the_first_item() -> None:
    judgement = judged([encode(1, "panic", at="x.c:1", text="no memory")])
    assert all_are(judgement, "CRASH") and judgement.resume is None


def test_refusal() -> None:
    judgement = judged([encode(1, "refuse", rule="illegal mask", text="ept_switch requires ept")])
    assert all_are(judgement, "ERROR") and judgement.resume is None
    assert "ept_switch requires ept" in next(iter(judgement.seen[0].values())).reason


def test_missing_result() -> None:
    judgement = judged(log({"opt/0x0014/vpid": "missing"}))
    seen = verdicts(judgement)
    assert seen["opt/0x0014/vpid@0"] == seen["opt/0x0014/vpid@1"] == "ERROR"
    assert seen["opt/0x0014/base@0"] == seen[f"{LAST}@0"] == "GOOD"


def test_result_twice() -> None:
    seen = verdicts(judged(log({"opt/0x0014/vpid": "twice"})))
    assert seen["opt/0x0014/vpid@0"] == "ERROR" and seen["opt/0x0014/ept@0"] == "GOOD"


def test_result_of_nowhere() -> None:
    seen = verdicts(judged(log({"opt/0x0014": "stray"})))
    assert "GOOD" not in {v for k, v in seen.items() if k.startswith("opt/0x0014")}
    assert seen["opt/0x0004/ept@0"] == "GOOD" or set(seen.values()) == {"ERROR"}


def test_item_of_nowhere() -> None:
    data = log()
    data.insert(2, encode(3, "start", n=7, id="opt/0x0fff", tsc=1))
    assert all_are(judged(data[:3]), "ERROR")


def test_end_lost() -> None:
    judgement = judged(log({"opt/0x0004": "noend"}))
    assert {s.verdict for s in judgement.seen[0].values()} == {Verdict.ERROR}
    assert {s.verdict for s in judgement.seen[2].values()} == {Verdict.GOOD}


def test_restart() -> None:
    data = log()
    judgement = judged(data[:9] + data)
    assert judgement.resume == 2 and {s.verdict for s in judgement.seen[1].values()} == {Verdict.CRASH}


def test_done_that_counts_otherwise() -> None:
    data = log()
    count = len(data)
    data[-1] = encode(count, "done", items=3, good=12, skip=0, error=0, bad=0, tsc=1)
    assert all_are(judged(data), "ERROR")


def test_good_needs_checks_and_skip_a_reason() -> None:
    def with_result(**fields: object) -> str:
        lines = [encode(1, "plan", proto=1, run="k3x9", arch="amd64", cpus=2, items=1, **{"from": 2})]
        lines += [encode(2, "start", n=2, id=LAST), encode(3, "result", id=LAST, cpu=0, **fields)]
        lines += [encode(4, "end", n=2, id=LAST)]
        word = str(fields.get("verdict", "")).lower()
        counts = {k: int(k == word) for k in ("good", "skip", "error", "bad")}
        judgement = judged([*lines, encode(5, "done", items=1, **counts)], first=2)
        return verdicts(judgement)[f"{LAST}@0"]

    assert with_result(verdict="GOOD", checks=1) == "GOOD"
    assert with_result(verdict="GOOD", checks=0) == "ERROR"
    assert with_result(verdict="GOOD") == "ERROR"
    assert with_result(verdict="SKIP", checks=0, reason="missing: enable EPT") == "SKIP"
    assert with_result(verdict="SKIP", checks=0, reason="no wish to") == "ERROR"
    assert with_result(verdict="SKIP", checks=0) == "ERROR"
    assert with_result(verdict="FINE", checks=1) == "ERROR"
    assert with_result(checks=1) == "ERROR"


@pytest.mark.parametrize("lost", range(len(log()) - 1))
def test_every_lost_line_is_noticed(lost: int) -> None:
    """But one that only informs spoils nothing else than its neighbours."""
    data = log()
    del data[lost]
    assert "ERROR" in verdicts(judged(data)).values()


def test_lost_line_spoils_its_item_only() -> None:
    data = log()
    index = next(i for i, line in enumerate(data) if b"id=opt/0x0014/ept cpu=1" in line)
    del data[index]
    judgement = judged(data)
    assert {s.verdict for s in judgement.seen[0].values()} == {Verdict.GOOD}
    assert {s.verdict for s in judgement.seen[1].values()} == {Verdict.ERROR}
    assert {s.verdict for s in judgement.seen[2].values()} == {Verdict.GOOD}


def test_every_truncation() -> None:
    """Wherever a log ends: what isn't known to be good isn't GOOD, and the next boot goes on behind what is."""
    data = b"".join(log())
    for cut in range(0, len(data) - 1, 3):
        judgement = judged(data[:cut])
        judged_items = set(judgement.seen)
        rest = set(range(judgement.resume, 3)) if judgement.resume is not None else set()
        assert judged_items | rest == {0, 1, 2} and not judged_items & rest
        assert any(s.verdict is not Verdict.GOOD for found in judgement.seen.values() for s in found.values())


def test_garbage_between_and_within() -> None:
    """Bytes of other layers between lines do no harm; within a line they cost that line."""
    rng = random.Random(1)
    clean = b"".join(b"[   1.5] kvm: vcpu0\r\n" + line + bytes(rng.randrange(256) for _ in range(20)) + b"\n" for line in log())
    assert all_are(judged(clean), "GOOD")
    for _ in range(300):
        data = bytearray(b"".join(log()))
        at = rng.randrange(len(data) - 2)
        if data[at : at + 1] == b"\r":
            continue
        data[at] ^= 1 << rng.randrange(8)
        assert not all_are(judged(bytes(data)), "GOOD")


def test_interleaved_with_another_lhv() -> None:
    """A second lhv on the same port: two plans, two sequences."""
    ours, theirs = log(), log({"opt/0x0004/ept": "bad"})
    mixed = [line for pair in zip(ours, theirs) for line in pair]
    assert not all_are(judged(mixed), "GOOD")


def test_sequence_that_starts_late() -> None:
    assert "GOOD" not in verdicts(judged(log()[2:])).values()
