# SPDX-License-Identifier: BSD-2-Clause
"""Lines: what is ours, what isn't."""

from __future__ import annotations

import pytest

from harness.wire import LINE_MAX, Line, LineReader, crc16, encode, parse_line, quote


def lines(data: bytes) -> list[Line]:
    return list(LineReader().feed(data))


def test_crc_is_ccitt_false() -> None:
    assert crc16(b"123456789") == 0x29B1


def test_documented_line() -> None:
    line = parse_line(encode(7, "result", id="opt/0x003c/ept", cpu=1, verdict="GOOD", checks=212))
    assert line is not None
    assert (line.seq, line.kind) == (7, "result")
    assert line.fields == {"id": "opt/0x003c/ept", "cpu": "1", "verdict": "GOOD", "checks": "212"}
    assert line.number("checks") == 212


@pytest.mark.parametrize("value", ["", "a b", 'say "x"', "back\\slash", "\x01\x7f\xe9", "a=b ~1234", "plain"])
def test_values_survive(value: str) -> None:
    line = parse_line(encode(1, "note", text=value))
    assert line is not None and line.fields["text"] == value


def test_numbers() -> None:
    line = parse_line(encode(1, "x", a="12", b="0x1F", c="1f", d="-1", e=""))
    assert line is not None
    assert [line.number(k) for k in "abcdef"] == [12, 31, None, None, None, None]


GOOD = encode(1, "note", text="hello there")


@pytest.mark.parametrize("raw", [
    GOOD[:-1], GOOD[:-2] + b"\n", GOOD[1:], b" " + GOOD, GOOD.replace(b"hello", b"hellO"), GOOD.upper(),
    GOOD.replace(b"lhv ", b"LHV "), GOOD.replace(b" ~", b"  ~"), b"lhv 0001 note ~0000\r\n", b"lhv\r\n", b"\r\n",
], ids=str)  # fmt: skip
def test_not_ours(raw: bytes) -> None:
    assert parse_line(raw) is None


def with_crc(body: bytes) -> bytes:
    return body + f" ~{crc16(body):04x}\r\n".encode()


@pytest.mark.parametrize("body", [
    b"lhv 001 note", b"lhv 0001 note a=1 a=2", b"lhv 0001 note a", b'lhv 0001 note a="b', b'lhv 0001 note a="\\n"',
    b'lhv 0001 note a="b"c', b"lhv 0001 note  a=1", b"lhv 0001 note a=\xe9", b"lhv 0001 note a=\x01", b"lhv 0001 Note",
    b"lhv 0001 note a=" + b"x" * LINE_MAX,
], ids=lambda b: repr(b[:30]))  # fmt: skip
def test_right_checksum_does_not_help(body: bytes) -> None:
    assert parse_line(with_crc(b"lhv 0001 note a=1")) is not None
    assert parse_line(with_crc(body)) is None


def test_longest_line() -> None:
    body = b"lhv 0001 note a="
    body += b"x" * (LINE_MAX - len(body) - len(" ~0000\r\n"))
    assert len(with_crc(body)) == LINE_MAX and parse_line(with_crc(body)) is not None


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_any_pieces(size: int) -> None:
    data = b"SeaBIOS\r\n" + encode(1, "a") + b"\xff\x00kvm: x\n" + encode(2, "b") + encode(3, "c")[:-1]
    reader = LineReader()
    got = [line for i in range(0, len(data), size) for line in reader.feed(data[i : i + size])]
    assert [line.kind for line in got] == ["a", "b"]
    assert data[got[1].start : got[1].end] == encode(2, "b")


def test_other_layers_are_no_lines_of_ours() -> None:
    assert not lines(b"[    0.1] " + GOOD + b"xmhf: " + GOOD + b"\r" + GOOD)
    assert len(lines(b"[    0.1] kvm\n" + GOOD)) == 1


def test_damaged_lines_are_counted() -> None:
    reader = LineReader()
    assert not list(reader.feed(GOOD.replace(b"hello", b"help") + b"something else\n"))
    assert reader.damaged == 1


def test_quote_leaves_plain_words() -> None:
    assert quote("ept/violation") == "ept/violation"
    assert quote("a b") == '"a b"'
