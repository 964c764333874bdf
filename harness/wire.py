# SPDX-License-Identifier: BSD-2-Clause
"""Lines of the serial protocol: bytes in, lines out (docs/protocol.md, "A line"). Pure."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

LINE_MAX = 500  # bytes, CR LF included
PREFIX = b"lhv "

_FIELD = rb'[A-Za-z_][A-Za-z0-9_]*=(?:"(?:[^"\\]|\\["\\]|\\x[0-9A-Fa-f]{2})*"|[^ "]*)'
_LINE = re.compile(rb"lhv ([0-9]{4,}) ([a-z]+)((?: " + _FIELD + rb")*) ~([0-9a-f]{4})")
_FIELDS = re.compile(_FIELD)
_PRINTABLE = re.compile(rb"[\x20-\x7e]*")
_ESCAPE = re.compile(r'\\(?:x([0-9A-Fa-f]{2})|(["\\]))')


@dataclass(frozen=True)
class Line:
    seq: int
    kind: str
    fields: Mapping[str, str]
    start: int  # offsets in the stream
    end: int

    def number(self, key: str) -> int | None:
        """The field as a number, decimal or 0x; None if it isn't there or isn't one."""
        return number(self.fields.get(key))


def number(text: str | None) -> int | None:
    if text is None:
        return None
    if re.fullmatch(r"[0-9]+", text):
        return int(text)
    if re.fullmatch(r"0x[0-9A-Fa-f]+", text):
        return int(text, 16)
    return None


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE."""
    return binascii.crc_hqx(data, 0xFFFF)


def quote(value: str) -> str:
    """A field's value as lhv would write it."""
    if value and re.fullmatch(r'[!#-\[\]-~]+', value):
        return value
    out = []
    for byte in value.encode("latin-1", "replace"):
        char = chr(byte)
        if char in '"\\':
            out.append("\\" + char)
        elif 0x20 <= byte < 0x7F:
            out.append(char)
        else:
            out.append(f"\\x{byte:02x}")
    return '"' + "".join(out) + '"'


def encode(seq: int, kind: str, **fields: object) -> bytes:
    """Writes a line. Only tests and fake emulators need it; here so that there is one place that knows the form."""
    body = f"lhv {seq:04d} {kind}" + "".join(f" {k}={quote(str(v))}" for k, v in fields.items())
    raw = body.encode("ascii")
    return raw + f" ~{crc16(raw):04x}\r\n".encode("ascii")


def _unquote(value: str) -> str:
    if not value.startswith('"'):
        return value
    return _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else m[2], value[1:-1])


def parse_line(raw: bytes, start: int = 0) -> Line | None:
    """raw is everything up to and with the LF. None: not one of ours."""
    if len(raw) > LINE_MAX or not raw.endswith(b"\r\n"):
        return None
    text = raw[:-2]
    match = _LINE.fullmatch(text)
    if not match or not _PRINTABLE.fullmatch(text):
        return None
    if crc16(text[: text.rindex(b" ~")]) != int(match[4], 16):
        return None
    fields: dict[str, str] = {}
    for field in _FIELDS.findall(match[3]):
        key, _, value = field.decode("ascii").partition("=")
        if key in fields:
            return None
        fields[key] = _unquote(value)
    return Line(int(match[1]), match[2].decode("ascii"), fields, start, start + len(raw))


class LineReader:
    """Takes the stream in pieces of any size; gives the lines that are ours."""

    def __init__(self) -> None:
        self._rest = b""
        self._offset = 0
        self.damaged = 0  # lines with our prefix that don't fit

    def feed(self, data: bytes) -> Iterator[Line]:
        self._rest += data
        while (eol := self._rest.find(b"\n")) >= 0:
            raw, self._rest = self._rest[: eol + 1], self._rest[eol + 1 :]
            line = parse_line(raw, self._offset)
            self._offset += len(raw)
            if line:
                yield line
            elif raw.startswith(PREFIX):
                self.damaged += 1
