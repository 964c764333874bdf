# SPDX-License-Identifier: BSD-2-Clause
"""The list of deliberate wrong changes fits the sources (make breaks runs them)."""

from pathlib import Path

import pytest

from harness import breaks

CHANGES = breaks.load()


def test_names_are_unique() -> None:
    names = [b.name for b in CHANGES]
    assert len(set(names)) == len(names) > 30


@pytest.mark.parametrize("brk", CHANGES, ids=[b.name for b in CHANGES])
def test_change_applies(brk: breaks.Break) -> None:
    text = (breaks.ROOT / brk.file).read_text()
    assert text.count(brk.old) == 1
    assert brk.old != brk.new


def test_a_change_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "f.c").write_text("a a")
    with pytest.raises(ValueError, match="2 times"):
        breaks.apply(breaks.Break("n", "f.c", "a", "b", [], "*"), tmp_path)
    assert (tmp_path / "f.c").read_text() == "a a"
