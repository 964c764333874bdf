# SPDX-License-Identifier: BSD-2-Clause
"""Option bits, legal masks, and the covering set: on a small table that can be searched, and on lhv's own."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from harness.cover import covering, legal_pairs
from harness.errors import EnvironmentProblem, UsageError
from harness.options import Option, OptionTable
from harness.settings import Settings
from harness.tests.fake_lhv import TABLE


def lhv_table() -> OptionTable:
    path = Settings().tables
    if not path.exists():
        pytest.skip("build/tables.json isn't built")
    return OptionTable.load(path)


def test_rules_are_named() -> None:
    assert TABLE.broken_rule(0x3C) is None and TABLE.broken_rule(0) is None
    assert TABLE.broken_rule(0x08) == "ept_switch requires ept"
    assert TABLE.broken_rule(0x42) == "l1_user conflicts with no_intr"
    assert TABLE.broken_rule(0x10000) == "bit 0x10000 is not defined"


def test_words() -> None:
    assert TABLE.parse("0x3c") == TABLE.parse("60") == TABLE.parse("ept+ept_switch+vpid+unrestricted") == 0x3C
    for word, part in (("ept_switch", "requires ept"), ("0x42", "conflicts"), ("nosuch", "nosuch"), ("-1", "negative")):
        with pytest.raises(UsageError, match=part):
            TABLE.parse(word)


def test_names() -> None:
    assert TABLE.name(0) == "none" and TABLE.name(0x14) == "ept+vpid"


def test_all_on_is_the_largest_legal_mask() -> None:
    legal = [m for m in range(TABLE.all_bits + 1) if TABLE.legal(m)]
    assert TABLE.all_on() == max(legal, key=lambda m: (m.bit_count(), m)) == 0x7D


def test_all_on_of_lhv() -> None:
    assert lhv_table().all_on() == 0xFFFD


def test_legal_pairs_against_search() -> None:
    legal = [m for m in range(TABLE.all_bits + 1) if TABLE.legal(m)]
    found = {(p.on, p.off) for p in legal_pairs(TABLE)}
    searched = set()
    for a, b in itertools.combinations([o.bit for o in TABLE.options], 2):
        for on, off in ((0, a | b), (a, b), (b, a), (a | b, 0)):
            if any(m & on == on and not m & off for m in legal):
                searched.add((on, off))
    assert found == searched


@pytest.mark.parametrize("which", ["small", "lhv"])
def test_covering_set(which: str) -> None:
    table = TABLE if which == "small" else lhv_table()
    masks = covering(table)
    assert all(table.legal(m) for m in masks) and masks == sorted(set(masks))
    assert [p for p in legal_pairs(table) if not any(p.holds(m) for m in masks)] == []
    assert {0, 0x3C, 0x3E, table.all_on()} <= set(masks)
    assert masks == covering(OptionTable(list(reversed(table.options)))), "must not depend on the order"
    assert len(masks) <= 20


def test_unreadable_tables(tmp_path: Path) -> None:
    path = tmp_path / "tables.json"
    with pytest.raises(EnvironmentProblem, match="make"):
        OptionTable.load(path)
    for text in ("", "{}", '{"options": [{"bit": 1}]}', "[]"):
        path.write_text(text)
        with pytest.raises(EnvironmentProblem, match="not a table"):
            OptionTable.load(path)
    path.write_text(json.dumps({"options": [{"bit": "0x4", "name": "ept", "requires": 0, "conflicts": 0, "text": "t"}]}))
    assert OptionTable.load(path).options == [Option(4, "ept", 0, 0, "t")]
