# SPDX-License-Identifier: BSD-2-Clause
"""What a run was asked to do. run_tests.py and pytest's own command line both end here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.stacks import FOREIGN, KVM_OWN, WAYS, Stack, expand, parse

ROOT = Path(__file__).resolve().parent.parent
ARCHS = ("i386", "amd64")
# Different generations that all have EPT, VPID and unrestricted guests.
MODELS = ("corei7_haswell_4770", "corei7_skylake_x", "corei7_sandy_bridge_2600k")
TIMEOUT = 20.0  # CPU seconds without progress, per CPU of the machine
L1_TIMEOUT = 60.0  # the same for an image of whose progress nothing is known

# Options that may be given several times and those with one value; run_tests.py and pytest have the same.
LISTS = {
    "stack": "bochs (default), bochs@VERSION, bochs:MODEL, qemu-tcg, qemu-kvm; behind it /xmhf-nest, /xmhf-nest-i386 (with "
    "+disk: lhv is on the second BIOS disk) or /l0 (see --l0): that L0 below lhv; behind bochs /kvm-5.10, /kvm-6.1, /kvm-6.12, "
    "/kvm-7.2 (Debian's kernels) or /kvm (see --kernel), with /qemu behind that QEMU instead of our VMM",
    "cpu_model": "CPU model of Bochs; default: haswell_4770, skylake_x, sandy_bridge_2600k; with KVM, --bochs or --l1 the first only",
    "arch": "i386, amd64; default both",
    "cpus": "number of CPUs; default 1 and 2",
    "opt": "mask: a number, or names joined by +; default: a covering set",
    "test": "glob over AREA/NAME or NAME; default: all",
    "l0_param": "with /kvm-...: NAME=VALUE of the module kvm_intel",
    "expect": "with --l1: regular expression that must appear on COM1",
    "reject": "with --l1: regular expression that must not appear",
}
VALUES = {
    "iter": "iterations per mask",
    "seed": "seed of lhv's pseudo-random choices",
    "shuffle": "1 or more: masks and tests in another order, the same one for the same number",
    "dump": "1: lhv dumps the VMCS after every item (see --keep and harness.dumps)",
    "shard": "I/N: only the I-th of N parts",
    "l1": "multiboot kernel or disk image to run instead of lhv",
    "append": "with --l1: the kernel's command line",
    "l0": "somebody else's L0, a disk image that boots the second BIOS disk, where lhv is; of stacks with /l0 (default: bochs/l0)",
    "l1_boot": "with /xmhf-nest: how it gets lhv: as a multiboot module (default), or from the second BIOS disk: module, disk",
    "kernel": "of /kvm: somebody's own Linux, a bzImage (default stack with it: bochs/kvm)",
    "kvm_modules": "with --kernel: folder with its modules kvm and kvm-intel",
    "kernel_version": "with one /kvm-...: that version of Debian's package, for example 6.1.176-1",
    "bochs": "the Bochs to use",
    "timeout": "CPU seconds without progress, per CPU of the machine",
    "memory": "MiB of each machine; default 64",
    "build_dir": "where lhv and tables.json are; default build",
    "keep": "folder in which everything of each boot stays",
}
PATHS = ("l0", "l1", "kernel", "kvm_modules", "build_dir", "keep")


@dataclass(frozen=True)
class Settings:
    stacks: tuple[str, ...] = ("bochs",)
    models: tuple[str, ...] = ()
    kvm_models: bool = True  # are they for stacks with Linux KVM, too?
    archs: tuple[str, ...] = ARCHS
    cpus: tuple[int, ...] = (1, 2)
    opts: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    bochs: str = ""
    timeout: float = TIMEOUT
    shard: tuple[int, int] = (1, 1)
    iterations: int = 0  # 0: lhv's own default
    seed: int = 1
    shuffle: int = 0  # 0: the image's order
    splits: int = 1  # boots that the items of one machine are spread over
    keep: str = ""
    build: Path = ROOT / "build"
    l0: str = ""
    l1_boot: str = ""  # empty: module
    l0_params: tuple[str, ...] = ()
    kernel_image: str = ""
    kvm_modules: str = ""
    kernel_version: str = ""
    l1: str = ""
    append: str = ""
    expect: tuple[str, ...] = ()
    reject: tuple[str, ...] = ()
    memory_mb: int = 64
    dump: int = 0

    def stack_list(self) -> list[Stack]:
        return expand(self.stacks, self.models, self.l1_boot, kvm_too=self.kvm_models)

    def layer(self, name: str) -> Path:
        """The file of a layer: somebody else's disk, or the kernel of xmhf-nest."""
        if name == FOREIGN:
            return Path(self.l0)
        arch = "i386" if name.endswith("-i386") else "amd64"
        return self.build / "xmhf-nest" / f"xmhf-nest-{arch}.elf"

    def kernel(self, arch: str) -> Path:
        return self.build / "lhv" / f"lhv-{arch}.elf"

    @property
    def tables(self) -> Path:
        return self.build / "tables.json"


def from_options(get: Callable[[str], Any]) -> Settings:
    """get: the value of an option of LISTS or VALUES, or of `splits`. Raises UsageError."""
    foreign = bool(get("l1"))
    _check_combination(get, foreign)
    default = Settings()
    out = Settings(
        stacks=words(get("stack")) or _default_stacks(get),
        models=words(get("cpu_model")) or (() if foreign or get("bochs") else MODELS),
        kvm_models=bool(words(get("cpu_model"))),
        archs=parse_archs(get("arch")) or default.archs,
        cpus=parse_cpus(get("cpus")) or ((1,) if foreign else default.cpus),
        opts=tuple(get("opt")),
        tests=tuple(get("test")),
        bochs=_program(get("bochs") or ""),
        timeout=parse_timeout(get("timeout") or str(L1_TIMEOUT if foreign else TIMEOUT)),
        shard=parse_shard(get("shard") or "1/1"),
        iterations=parse_number("--iter", get("iter") or "0", 0, 1_000_000),
        seed=parse_number("--seed", get("seed") or "1", 0, 2**64 - 1),
        shuffle=parse_number("--shuffle", get("shuffle") or "0", 0, 2**32 - 1),
        dump=parse_number("--dump", get("dump") or "0", 0, 1),
        splits=parse_number("--splits", get("splits") or "1", 1, 1000),
        memory_mb=parse_number("--memory", get("memory") or "64", 16, 4096),
        keep=str(Path(get("keep")).absolute()) if get("keep") else "",
        build=Path(get("build_dir")).absolute() if get("build_dir") else default.build,
        l0=str(Path(get("l0")).absolute()) if get("l0") else "",
        l1_boot=get("l1_boot") or "",
        l0_params=words(get("l0_param")),
        kernel_image=str(Path(get("kernel")).absolute()) if get("kernel") else "",
        kvm_modules=str(Path(get("kvm_modules")).absolute()) if get("kvm_modules") else "",
        kernel_version=get("kernel_version") or "",
        l1=get("l1") or "",
        append=get("append") or "",
        expect=parse_regexes("--expect", get("expect")),
        reject=parse_regexes("--reject", get("reject")),
    )
    check_layers(out)
    return out


def _default_stacks(get: Callable[[str], Any]) -> tuple[str, ...]:
    if get("l0"):
        return (f"bochs/{FOREIGN}",)
    return (f"bochs/{KVM_OWN}",) if get("kernel") else Settings().stacks


def _check_combination(get: Callable[[str], Any], foreign: bool) -> None:
    """What would be ignored without a word is a mistake."""
    for name in LISTS:
        if any(not value.strip(",") for value in get(name)):
            raise UsageError(f"--{name.replace('_', '-')}: a value is missing")
    for name in ("arch", "opt", "test", "iter", "seed", "shuffle") if foreign else ("append", "expect", "reject"):
        if get(name):
            raise UsageError(f"--{name} {'makes no sense with' if foreign else 'needs'} --l1")


def check_layers(settings: Settings) -> None:
    """Options that are about layers, held against the stacks."""
    way = settings.l1_boot
    if way and way not in WAYS:
        raise UsageError(f"--l1-boot {way}: must be {' or '.join(WAYS)}")
    layers = {layer for spec in settings.stacks for layer in parse(spec).layers}
    if settings.l0 and FOREIGN not in layers:
        raise UsageError(f"--l0 needs a stack that ends in /{FOREIGN}, for example bochs/{FOREIGN}")
    if FOREIGN in layers:
        if not settings.l0:
            raise UsageError(f"/{FOREIGN} needs --l0 IMAGE")
        _check_disk(Path(settings.l0))
    _check_kvm(settings, layers)
    if way and not {layer for layer in layers if layer.startswith("xmhf-nest")}:
        raise UsageError("--l1-boot needs a stack with a layer that can be booted in several ways, for example bochs/xmhf-nest")


def _check_kvm(settings: Settings, layers: set[str]) -> None:
    kvm = {layer.split("/")[0] for layer in layers if layer.startswith(KVM_OWN)}
    if settings.l0_params and not kvm:
        raise UsageError("--l0-param needs a stack with Linux KVM, for example bochs/kvm-6.1")
    for text in settings.l0_params:
        if not re.fullmatch(r"[a-z_][a-z0-9_]*=[A-Za-z0-9_.-]+", text):
            raise UsageError(f"--l0-param {text}: NAME=VALUE is wanted")
    if (KVM_OWN in kvm) != bool(settings.kernel_image):
        raise UsageError("--kernel BZIMAGE and a stack that ends in /kvm belong together")
    if bool(settings.kernel_image) != bool(settings.kvm_modules):
        raise UsageError("--kernel BZIMAGE and --kvm-modules DIR belong together")
    if settings.kernel_version and len(kvm - {KVM_OWN}) != 1:
        raise UsageError("--kernel-version needs stacks with one line of Debian's kernels, for example bochs/kvm-6.1")


def _check_disk(path: Path) -> None:
    try:
        with path.open("rb") as f:
            sector = f.read(512)
    except OSError as e:
        raise UsageError(f"--l0 {path}: {e.strerror}") from e
    if sector[510:] != b"\x55\xaa":
        raise UsageError(f"--l0 {path}: not a disk image with a boot sector")


def _program(name: str) -> str:
    """Emulators run in a folder of their own, so a relative path would mean something else there."""
    return str(Path(name).absolute()) if "/" in name else name


def words(values: Iterable[str]) -> tuple[str, ...]:
    """Repeatable options also take lists with commas. Order is kept, repetitions are dropped."""
    return tuple(dict.fromkeys(w for value in values for w in value.split(",") if w))


def parse_cpus(values: Iterable[str]) -> tuple[int, ...]:
    out = []
    for word in words(values):
        if not re.fullmatch(r"[1-8]", word):
            raise UsageError(f"--cpus {word}: a number from 1 to 8 is wanted")
        out.append(int(word))
    return tuple(out)


def parse_archs(values: Iterable[str]) -> tuple[str, ...]:
    for word in words(values):
        if word not in ARCHS:
            raise UsageError(f"--arch {word}: must be {' or '.join(ARCHS)}")
    return words(values)


def parse_shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9][0-9]*)/([1-9][0-9]*)", text)
    if not match or int(match[1]) > int(match[2]):
        raise UsageError(f"--shard {text}: I/N with 1 <= I <= N is wanted")
    return int(match[1]), int(match[2])


def parse_timeout(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise UsageError(f"--timeout {text}: seconds are wanted, more than 0")
    return value


def parse_regexes(option: str, values: Iterable[str]) -> tuple[str, ...]:
    for value in values:
        try:
            re.compile(value)
        except re.error as e:
            raise UsageError(f"{option} {value}: {e}") from e
    return tuple(values)


def parse_number(option: str, text: str, least: int, most: int) -> int:
    if not re.fullmatch(r"[0-9]+", text) or not least <= int(text) <= most:
        raise UsageError(f"{option} {text}: a number from {least} to {most} is wanted")
    return int(text)
