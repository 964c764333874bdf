# SPDX-License-Identifier: BSD-2-Clause
"""Names of stacks: ENGINE[@VERSION][:MODEL][/LAYER[+disk]], outermost first: bochs, bochs@2.7:tigerlake/xmhf-nest,
bochs/kvm-6.1/qemu."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from harness.errors import UsageError

DEFAULT_MODELS = {"bochs": "corei7_haswell_4770", "qemu-tcg": "max", "qemu-kvm": "host"}
# Layers that can be put between an engine and lhv, and the architectures of lhv that run on them.
FOREIGN = "l0"  # somebody else's, a disk image that --l0 names
LAYERS: dict[str, tuple[str, ...]] = {
    "xmhf-nest": ("i386", "amd64"), "xmhf-nest-i386": ("i386",), FOREIGN: ("i386", "amd64"),
}  # fmt: skip
# Linux with KVM, by its version, or one that --kernel names; with a VMM of ours, or with QEMU.
KVM_LINES = ("5.10", "6.1", "6.12", "7.2")
KVM_OWN = "kvm"
QEMU = "qemu"
LAYERS |= {f"kvm-{line}{vmm}": ("i386", "amd64") for line in KVM_LINES for vmm in ("", f"/{QEMU}")}
LAYERS |= {f"{KVM_OWN}{vmm}": ("i386", "amd64") for vmm in ("", f"/{QEMU}")}
# How a layer gets lhv: as a multiboot module, or from the second BIOS disk.
WAYS = ("module", "disk")

_SPEC = re.compile(r"(?P<engine>[a-z][a-z-]*)(@(?P<version>[0-9][0-9.]*(\+[a-z]+)?))?(:(?P<model>[A-Za-z0-9_.,+-]+))?")


@dataclass(frozen=True)
class Stack:
    engine: str
    version: str  # as asked for; empty: the best there is
    model: str
    layers: tuple[str, ...] = ()
    way: str = WAYS[0]

    def runs(self, arch: str) -> bool:
        return all(arch in LAYERS[layer] for layer in self.layers)

    @property
    def kvm(self) -> bool:
        """Is the innermost layer Linux with KVM?"""
        return bool(self.layers) and re.match(rf"{KVM_OWN}([-/]|$)", self.layers[-1]) is not None

    @property
    def below(self) -> Stack | None:
        """Without the innermost layer: what shows whose fault it is."""
        return replace(self, layers=self.layers[:-1], way=WAYS[0]) if self.layers else None

    @property
    def name(self) -> str:
        """Canonical; the default model and the default way aren't told."""
        version = f"@{self.version}" if self.version else ""
        model = "" if self.model == DEFAULT_MODELS[self.engine] else f":{self.model}"
        name = "/".join([f"{self.engine}{version}{model}", *self.layers])
        return name if self.way == WAYS[0] or FOREIGN in self.layers else f"{name}+{self.way}"


def parse(spec: str, way: str = "") -> Stack:
    """way: of a layer that doesn't say it itself."""
    first, *layers = spec.split("/")
    if layers[1:] == [QEMU]:
        layers = ["/".join(layers)]
    match = _SPEC.fullmatch(first)
    if not match or match["engine"] not in DEFAULT_MODELS:
        raise UsageError(f"--stack {spec}: unknown; engines are {', '.join(DEFAULT_MODELS)} (engine[@version][:model])")
    if len(layers) > 1:
        raise UsageError(f"--stack {spec}: one layer at most")
    if layers:
        layer, plus, own = layers[0].partition("+")
        if layer not in LAYERS:
            raise UsageError(f"--stack {spec}: unknown layer {layer!r} (known: {', '.join(sorted(LAYERS))})")
        if layer.startswith(KVM_OWN) and (plus or engine_of(first) != "bochs"):
            raise UsageError(f"--stack {spec}: Linux with KVM is a layer on Bochs, and takes a multiboot kernel")
        if plus and own not in WAYS:
            raise UsageError(f"--stack {spec}: behind the + must be one of {', '.join(WAYS)}")
        layers, way = [layer], own or ("" if layer.startswith(KVM_OWN) else way)
        if layer == FOREIGN:
            if own == "module":
                raise UsageError(f"--stack {spec}: somebody else's L0 boots the second disk")
            way = "disk"
    engine, version = match["engine"], match["version"] or ""
    if version and engine != "bochs":
        raise UsageError(f"--stack {spec}: a version can be chosen for bochs only")
    model = match["model"] or DEFAULT_MODELS[engine]
    return Stack(engine, version, model, tuple(layers), way if layers and way else WAYS[0])


def engine_of(spec: str) -> str:
    return re.split("[@:]", spec)[0]


def expand(specs: Iterable[str], models: Iterable[str], way: str = "", *, kvm_too: bool = True) -> list[Stack]:
    """Each stack with each model (of Bochs; a stack that names its model keeps it), without repetitions.

    kvm_too: stacks with Linux KVM as well, which take long; else only with the default model."""
    out: dict[str, Stack] = {}
    models = list(models)
    for spec in specs:
        stack = parse(spec, way)
        free = stack.engine == "bochs" and ":" not in spec
        variants = [replace(stack, model=m) for m in models] if free and models and (kvm_too or not stack.kvm) else [stack]
        out.update((s.name, s) for s in variants)
    return list(out.values())
