# SPDX-License-Identifier: BSD-2-Clause
from harness import dumps
from harness.wire import encode


def log(*lines: tuple[str, dict[str, object]]) -> bytes:
    return b"".join(encode(n, kind, **fields) for n, (kind, fields) in enumerate(lines, 1))


def vmcs(cpu: int, tag: str = "fail", **values: str) -> tuple[str, dict[str, object]]:
    return "vmcs", {"cpu": cpu, "tag": tag, **values}


def start(item: str) -> tuple[str, dict[str, object]]:
    return "start", {"n": 0, "id": item, "tsc": 1}


def test_mixed_cpus_and_several_dumps() -> None:
    data = log(
        start("opt/0x0000"), vmcs(0, a="0x1"), vmcs(1, a="0x9"), vmcs(0, b="0x2", c="0x0"), vmcs(1, b="0x8"),
        vmcs(0, a="0x3"), start("opt/0x0004"), vmcs(0, b="0x4"),
    )  # fmt: skip
    found = dumps.read(data)
    assert [(d.after, d.cpu, d.values) for d in found] == [
        ("opt/0x0000", "0", {"a": "0x1", "b": "0x2", "c": "0x0"}),
        ("opt/0x0000", "1", {"a": "0x9", "b": "0x8"}),
        ("opt/0x0000", "0", {"a": "0x3"}),
        ("opt/0x0004", "0", {"b": "0x4"}),
    ]


def test_damaged_lines_are_no_fields() -> None:
    data = log(start("x"), vmcs(0, a="0x1"), vmcs(0, b="0x2")).replace(b"0x2", b"0x7")
    assert [d.values for d in dumps.read(data)] == [{"a": "0x1"}]


def test_differences() -> None:
    assert dumps.differences({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "5", "d": "4"}) == [
        ("b", "2", "5"),
        ("c", "3", "-"),
        ("d", "-", "4"),
    ]
    assert dumps.differences({"a": "1"}, {"a": "1"}) == []
