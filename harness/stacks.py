# SPDX-License-Identifier: BSD-2-Clause
"""Names of stacks: ENGINE[@VERSION][:MODEL][/LAYER...], outermost first: bochs, bochs@2.7:tigerlake, bochs/kvm-6.1."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from harness.errors import UsageError

DEFAULT_MODELS = {"bochs": "corei7_haswell_4770", "qemu-tcg": "max", "qemu-kvm": "host"}
# Layers that can be put between an engine and lhv, and the architectures of lhv that run on them.
LAYERS: dict[str, tuple[str, ...]] = {"xmhf-nest": ("i386", "amd64"), "xmhf-nest-i386": ("i386",)}

_SPEC = re.compile(r"(?P<engine>[a-z][a-z-]*)(@(?P<version>[0-9][0-9.]*))?(:(?P<model>[A-Za-z0-9_.,+-]+))?")


@dataclass(frozen=True)
class Stack:
    engine: str
    version: str  # as asked for; empty: the best there is
    model: str
    layers: tuple[str, ...] = ()

    def runs(self, arch: str) -> bool:
        return all(arch in LAYERS[layer] for layer in self.layers)

    @property
    def below(self) -> Stack | None:
        """Without the innermost layer: what shows whose fault it is."""
        return replace(self, layers=self.layers[:-1]) if self.layers else None

    @property
    def name(self) -> str:
        """Canonical; the default model isn't told."""
        version = f"@{self.version}" if self.version else ""
        model = "" if self.model == DEFAULT_MODELS[self.engine] else f":{self.model}"
        return "/".join([f"{self.engine}{version}{model}", *self.layers])


def parse(spec: str) -> Stack:
    first, *layers = spec.split("/")
    match = _SPEC.fullmatch(first)
    if not match or match["engine"] not in DEFAULT_MODELS:
        raise UsageError(f"--stack {spec}: unknown; engines are {', '.join(DEFAULT_MODELS)} (engine[@version][:model])")
    for layer in layers:
        if layer not in LAYERS:
            known = ", ".join(sorted(LAYERS)) or "none in this version"
            raise UsageError(f"--stack {spec}: unknown layer {layer!r} (known: {known})")
    if len(layers) > 1:
        raise UsageError(f"--stack {spec}: one layer at most")
    engine, version = match["engine"], match["version"] or ""
    if version and engine != "bochs":
        raise UsageError(f"--stack {spec}: a version can be chosen for bochs only")
    return Stack(engine, version, match["model"] or DEFAULT_MODELS[engine], tuple(layers))


def expand(specs: Iterable[str], models: Iterable[str]) -> list[Stack]:
    """Each stack with each model (of Bochs; a stack that names its model keeps it), without repetitions."""
    out: dict[str, Stack] = {}
    models = list(models)
    for spec in specs:
        stack = parse(spec)
        free = stack.engine == "bochs" and ":" not in spec
        variants = [Stack(stack.engine, stack.version, m, stack.layers) for m in models] if free and models else [stack]
        out.update((s.name, s) for s in variants)
    return list(out.values())
