# SPDX-License-Identifier: BSD-2-Clause
from __future__ import annotations

import pytest

from images.common import ImageError
from images.kvm import job
from images.kvm.job import Job


def lines(disk: bytes) -> list[str]:
    return disk[: job.TEXT_SECTORS * job.SECTOR].split(b"\0")[0].decode().splitlines()


def test_disk() -> None:
    made = Job(b"k" * 513, "opt=0 run=x", [(b"m", "first"), (b"n" * 512, "")], b"d" * 1024, 96, 2, 40, ("ept=0", "pml=0"))
    disk = job.disk(made)
    assert len(disk) == job.DISK_BYTES
    assert lines(disk) == [
        "lhv-job 1", "kernel 32 513 opt=0 run=x", "module 34 1 first", "module 35 512", "disk 36 1024",
        "memory 96", "cpus 2", "stall 40", "param ept=0 pml=0", "end",
    ]  # fmt: skip
    assert disk[32 * 512 :][:514] == b"k" * 513 + b"\0"
    assert disk[35 * 512 :][:512] == b"n" * 512
    assert disk[36 * 512 :][:1025] == b"d" * 1024 + b"\0"


@pytest.mark.parametrize(
    "bad, text",
    [
        (Job(b"", ""), "empty kernel"),
        (Job(b"k", "a\nend"), "printable"),
        (Job(b"k", "x" * 17000), "command lines of"),
        (Job(b"k", "", [(b"m", "")] * 9), "9 modules"),
        (Job(b"k", "", cpus=5), "5 CPUs"),
        (Job(b"k", "", memory_mb=1), "1 MiB"),
        (Job(b"k", "", params=("ept",)), "name=value"),
        (Job(b"k", "", params=("ept=0\nend",)), "name=value"),
        (Job(b"k" * (17 << 20), ""), "at most"),
    ],
)
def test_refused(bad: Job, text: str) -> None:
    with pytest.raises(ImageError, match=text):
        job.disk(bad)
