# SPDX-License-Identifier: BSD-2-Clause
"""Who is the odd one out, and who is wrong: the rules, on made-up results."""

from __future__ import annotations

from typing import Any

import pytest

from harness import vote
from harness.reasons import kind
from harness.report import votes
from harness.rows import Row
from harness.tests.test_differences import row

NEST, KVM = "bochs/xmhf-nest", "bochs/kvm-6.1"
TEST = "amd64/1cpu/test/a/b"
STACKS: dict[str, Row] = {
    "bochs": {"engine": "bochs", "version": "3.0", "below": None},
    NEST: {"engine": "bochs", "version": "3.0", "below": "bochs"},
    KVM: {"engine": "bochs", "version": "3.0+fixes", "below": "bochs"},
}


def ballots(**verdicts: str) -> list[Row]:
    names = {"bochs": "bochs", "nest": NEST, "kvm": KVM}
    return [row(names[n], TEST, v, "ok" if v in ("GOOD", "SKIP") else "unexpected") for n, v in verdicts.items()]


@pytest.mark.parametrize("verdicts,odd,wrong,open", [
    # An L0 is wrong where the emulator below it is GOOD.
    (dict(bochs="GOOD", nest="GOOD", kvm="BAD"), [KVM], [KVM], []),
    (dict(bochs="GOOD", nest="CRASH", kvm="GOOD"), [NEST], [NEST], []),
    (dict(bochs="GOOD", nest="BAD", kvm="BAD"), ["bochs"], [NEST, KVM], []),
    # Where it isn't, it's the emulator, whatever the vote says.
    (dict(bochs="BAD", nest="GOOD", kvm="GOOD"), ["bochs"], ["bochs"], []),
    (dict(bochs="BAD", nest="GOOD", kvm="BAD"), [NEST], ["bochs"], []),
    (dict(bochs="CRASH", nest="GOOD", kvm="BAD"), None, ["bochs"], []),
    # A tie isn't resolved.
    (dict(bochs="GOOD", kvm="BAD"), None, [KVM], []),
    # Who abstains has no vote, and can't acquit what is on it.
    (dict(bochs="SKIP", nest="GOOD", kvm="BAD"), None, [], [(KVM, "bochs", "says SKIP")]),
    (dict(bochs="ERROR", nest="GOOD", kvm="BAD"), None, [], [(KVM, "bochs", "says ERROR")]),
    (dict(nest="GOOD", kvm="BAD"), None, [], [(KVM, "bochs", "wasn't run")]),
    (dict(bochs="INFRA", nest="GOOD", kvm="TIMEOUT"), None, [], [(KVM, "bochs", "wasn't run")]),
])  # fmt: skip
def test_rules(verdicts: dict[str, str], odd: list[str] | None, wrong: list[str], open: list[tuple[str, str, str]]) -> None:
    (found,) = vote.find(ballots(**verdicts), STACKS)
    assert found["disagree"] and found["odd"] == (odd or []) and (found["majority"] is None) == (odd is None)
    assert found["wrong"] == wrong and [tuple(o.values()) for o in found["open"]] == open
    assert vote.vote_text(found).startswith("tie: " if odd is None else f"odd one out: {', '.join(odd)}")


def test_another_way_to_be_wrong() -> None:
    """Where the emulator is wrong, an L0 that fails otherwise isn't called wrong, but that is told."""
    def found(bare: str, kvm: str, verdict: str = "BAD") -> Row:
        rows = ballots(bochs="BAD", nest="GOOD", kvm=verdict)
        return vote.find([rows[0] | {"reason": bare}, rows[1], rows[2] | {"reason": kvm}], STACKS)[0]

    assert vote.blame_text(found("x == 1: want 0x7", "x == 1: want 0x9")) == "wrong: bochs"
    for other in (found("x == 1", "y == 1"), found("x == 1", "x == 1", "CRASH")):
        assert other["wrong"] == ["bochs"] and other["otherwise"] == [KVM]
        assert vote.blame_text(other) == f"wrong: bochs; {KVM} in another way"


def test_a_majority_is_more_than_half() -> None:
    def of(*verdicts: str) -> str | None:
        return vote.majority({f"engine{chr(97 + i)}": v for i, v in enumerate(verdicts)})

    assert of("GOOD", "GOOD", "BAD") == "GOOD"
    assert of("GOOD", "GOOD", "BAD", "CRASH") is None, "not GOOD is as many"
    assert of("GOOD", "BAD") is None and of() is None


def test_what_is_no_difference() -> None:
    assert vote.find(ballots(bochs="BAD", nest="BAD", kvm="BAD"), STACKS) == []
    assert vote.find(ballots(bochs="GOOD", nest="GOOD", kvm="INFRA"), STACKS) == [], "this machine's trouble"
    (found,) = vote.find(ballots(bochs="SKIP", nest="GOOD", kvm="GOOD"), STACKS)
    assert not found["disagree"] and found["abstain"] == ["bochs"] and found["wrong"] == found["odd"] == []
    assert votes.judgement(found) == "no vote against another"


def test_below_is_what_the_report_says() -> None:
    """And the name's, for a stack on which nothing could be run."""
    results = [row("old=bochs", TEST, "BAD"), row("new", TEST, "BAD", "unexpected"), row("third", TEST, "GOOD")]
    stacks: dict[str, Row] = {"new": {"below": "old=bochs"}, "old=bochs": {"below": None}, "third": {"below": None}}
    assert vote.find(results, stacks)[0]["wrong"] == ["old=bochs"]
    assert vote.find(results, {**stacks, "new": {"below": None}})[0]["wrong"] == ["old=bochs", "new"]
    (found,) = vote.find([row(NEST, TEST, "BAD"), row("qemu-kvm", TEST, "GOOD")], {})
    assert found["wrong"] == [] and found["open"][0]["below"] == "bochs"


def several() -> list[Row]:
    def rows(path: str, reason: str = "", **verdicts: str) -> list[Row]:
        return [r | {"id": f"{r['stack']}/{path}", "reason": reason if r["verdict"] == "BAD" else ""} for r in ballots(**verdicts)]

    known: dict[str, Any] = {"known": {"reason": "INIT is lost", "evidence": "seen", "link": "l.md"}, "outcome": "known"}
    out = rows("amd64/1cpu/test/s/k", bochs="GOOD", kvm="SKIP")
    for machine in ("i386/1cpu", "amd64/1cpu"):
        out += [r | (known if r["stack"] == "bochs" else {}) for r in rows(f"{machine}/test/smp/init", bochs="BAD", nest="GOOD")]
    for mask, address in (("0x003c", "0x7000"), ("0x0010", "0x8120")):
        for cpu in (0, 1):
            text = f"rip == x: want {address}, got {cpu}"
            out += rows(f"amd64/2cpu/opt/{mask}/vpid/cpu{cpu}", text, bochs="GOOD", nest="GOOD", kvm="BAD")
    out += rows("amd64/2cpu/opt/0x003c/ept/cpu0", "another", bochs="GOOD", nest="GOOD", kvm="BAD")
    return out + rows("amd64/2cpu/test/a/b", "r", bochs="GOOD", nest="GOOD") + rows("amd64/2cpu/test/a/b", "r", kvm="BAD")


def test_groups() -> None:
    """Numbers don't make another kind; unexpected ones come first, those without a disagreement last."""
    groups = vote.group(vote.find(several(), STACKS))
    assert [(g["name"], g["machines"], g["members"], g["count"]) for g in groups] == [
        ("opt/*/vpid", ["amd64/2cpu"], ["0x003c", "0x0010"], 4),
        ("opt/0x003c/ept", ["amd64/2cpu"], ["0x003c"], 1),
        ("test/a/b", ["amd64/2cpu"], ["b"], 1),
        ("test/smp/init", ["i386/1cpu", "amd64/1cpu"], ["init"], 2),
        ("test/s/k", ["amd64/1cpu"], ["k"], 1),
    ]


def test_text() -> None:
    lines = votes.text_lines(vote.group(vote.find(several(), STACKS)))
    at = lines.index("opt/*/vpid on amd64/2cpu: 0x003c, 0x0010")
    assert lines[0] == "Stacks disagree:" and lines[at + 1 : at + 5] == [
        f"    GOOD bochs, {NEST}",
        f"    BAD {KVM}: unexpected: rip == x: want 0x7000, got 0",
        f"  odd one out: {KVM}; wrong: {KVM}", "",
    ]  # fmt: skip
    at = lines.index("test/smp/init on i386/1cpu, amd64/1cpu")
    assert lines[at + 1 : at + 6] == [
        "    BAD bochs: known: INIT is lost [seen] [l.md]", f"    GOOD {NEST}", f"    - {KVM}: not run",
        "  tie: 1 BAD, 1 GOOD; wrong: bochs", "",
    ]  # fmt: skip
    last = lines.index("Verdicts differ, but no vote is against another (SKIP and ERROR abstain):")
    assert lines[last + 2] == "test/s/k on amd64/1cpu"


def test_another_emulator_below_is_told() -> None:
    assert vote.caveats(STACKS) == [f"{KVM} runs on bochs 3.0+fixes; below it, bochs was run on 3.0"]


def test_kinds_of_reasons() -> None:
    assert kind("a.c:3: x == 0x1f: want 7, got deadbeef") == kind("a.c:4: x == 0x2: want 81, got 00000000")
    assert kind("x == 1: want 1") != kind("y == 1: want 1")
    hang = "nothing for 20 s of CPU time, after: start opt/0x003c"
    assert kind(hang) == kind("nothing for 41 s of CPU time, after: result opt/0x0010/base") != kind("nothing for 20 s, after: cap x")
