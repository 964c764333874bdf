# SPDX-License-Identifier: BSD-2-Clause
"""Versions of one program have one vote."""

from __future__ import annotations

import pytest

from harness.tests.test_differences import row
from harness.tests.test_vote import TEST
from harness.vote import family, find, majority, vote_text

KVM = ("bochs/kvm-5.10", "bochs/kvm-6.1", "bochs:corei7_skylake_x/kvm-7.2/qemu", "qemu-kvm")


@pytest.mark.parametrize(
    "stacks, name",
    [
        (("bochs", "bochs@2.7", "bochs@3.0+fixes", "bochs:corei7_skylake_x", "old=bochs", "a@b:c=bochs"), "bochs"),
        (("bochs/xmhf-nest", "bochs/xmhf-nest-i386", "bochs@2.7/xmhf-nest+disk", "qemu-kvm/xmhf-nest"), "xmhf-nest"),
        ((*KVM, "bochs/kvm"), "kvm"),
        (("bochs/l0", "new=bochs/l0"), "l0"),
    ],
)
def test_families(stacks: tuple[str, ...], name: str) -> None:
    assert {family(s) for s in stacks} == {name}


def test_many_versions_do_not_outvote() -> None:
    votes = {"bochs": "GOOD", "bochs/xmhf-nest": "GOOD", **dict.fromkeys(KVM, "BAD")}
    assert majority(votes) == "GOOD"
    assert majority({"bochs": "GOOD", **dict.fromkeys(KVM, "BAD")}) is None


def test_a_divided_family() -> None:
    divided = {"bochs/kvm-5.10": "BAD", "bochs/kvm-6.1": "GOOD"}
    assert majority({"bochs": "GOOD", **divided}) == "GOOD"
    assert majority({"bochs": "GOOD", "bochs/xmhf-nest": "BAD", **divided}) is None
    assert majority({}) is None


def test_a_tie_is_told_in_votes() -> None:
    """Not in stacks: three of which would look like a majority."""
    verdicts = {"bochs": "BAD", "bochs/kvm-5.10": "GOOD", "bochs/kvm-6.1": "GOOD"}
    (found,) = find([row(stack, TEST, v) for stack, v in verdicts.items()], {})
    assert vote_text(found) == "tie: 1 BAD, 1 GOOD"
    verdicts["bochs/kvm-7.2"] = "BAD"
    verdicts["bochs/xmhf-nest"] = "GOOD"
    verdicts["bochs/l0"] = "CRASH"
    (found,) = find([row(stack, TEST, v) for stack, v in verdicts.items()], {})
    assert vote_text(found) == "tie: 5/3 GOOD, 4/3 BAD, 1 CRASH"
