# SPDX-License-Identifier: BSD-2-Clause
"""Brings what stacks with Linux KVM need: a Bochs with our patches, a kernel, a saved state. All stay in the cache."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from harness.engines.bochs import BochsEngine
from harness.engines.kvm import KvmEngine, host_of
from harness.errors import EnvironmentProblem
from harness.settings import Settings
from harness.stacks import KVM_OWN, QEMU, Stack
from images import ImageError, build_bochs
from images.kvm import checkpoint, initramfs, kernels, machine, qemu, snapshot

FIXED = f"{build_bochs.VERSION}+{build_bochs.FIXES}"


def say(text: str) -> None:
    print(f"run_tests.py: {text}", file=sys.stderr, flush=True)


def find(stack: Stack, settings: Settings) -> KvmEngine:
    """Raises EnvironmentProblem for what is broken; what is just not here, and can't be fetched, is a skip."""
    line, _, vmm = stack.layers[-1].removeprefix(f"{KVM_OWN}-").partition("/")
    try:
        bochs = _bochs(stack, settings)
        kernel = _kernel(line, settings)
    except Missing as e:
        return KvmEngine(stack.engine, stack.version, stack.model, skip=str(e), title=f"Linux {line}")
    try:
        return _engine(bochs, kernel, vmm, settings.l0_params, settings.build)
    except ImageError as e:
        raise EnvironmentProblem(str(e)) from e


class Missing(Exception):
    """Something isn't on this machine and can't be brought: the text says what to do."""


def _bochs(stack: Stack, settings: Settings) -> BochsEngine:
    wanted = stack
    if not stack.version and not settings.bochs:
        _build(fixes=True)
        # The emulator below an L0 is to be judged too, and not an old version of it.
        _build(fixes=False)
        wanted = replace(stack, version=FIXED)
    engine = BochsEngine.find(wanted, settings.bochs)
    if not checkpoint.possible(engine.path, engine.debugger):
        raise EnvironmentProblem(
            f"{engine.path} can't save its state: it has neither our patches (make bochs-fixes) nor a debugger"
        )
    return engine


@lru_cache
def _build(*, fixes: bool) -> None:
    """Our build of Bochs, with our patches or without, if it isn't there or isn't up to date."""
    build = build_bochs.Build(
        build_bochs.default_folder(fixes), jobs=os.cpu_count() or 1, mirror="", tarball=None, fixes=fixes
    )
    if build.is_done():
        return
    try:
        with _standard_error():
            build_bochs.install_packages()
            build.run()
            build.clean()
    except (ImageError, OSError) as e:
        raise Missing(f"needs Bochs {FIXED}, which can't be built: {e}; see `make bochs-fixes`") from e


@contextlib.contextmanager
def _standard_error() -> Iterator[None]:
    """Standard output is for results."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@lru_cache
def _kernel(line: str, settings: Settings) -> kernels.Kernel:
    if line == KVM_OWN:
        try:
            return kernels.from_build(Path(settings.kernel_image), Path(settings.kvm_modules))
        except ImageError as e:
            raise EnvironmentProblem(str(e)) from e
    kernel = kernels.cached(line, settings.kernel_version)
    if kernel is not None:
        return kernel
    try:
        say(f"fetching Debian's kernel {line} {settings.kernel_version}".rstrip())
        return kernels.fetch(line, settings.kernel_version)
    except ImageError as e:
        raise Missing(str(e)) from e


@lru_cache
def _engine(bochs: BochsEngine, kernel: kernels.Kernel, vmm: str, params: tuple[str, ...], build: Path) -> KvmEngine:
    program = build / "kvm" / "vmm"
    if not program.is_file():
        raise EnvironmentProblem(f"{program} isn't there: run `make kvm`")
    files = {f"{name}.ko": (kernels.module_bytes(path), 0o644) for name, path in kernel.modules.items()}
    how = "our VMM"
    if vmm == QEMU:
        collected = qemu.collect()
        files |= collected.files
        how = f"QEMU {collected.version}"
    title = f"Linux {kernel.version} with {how}" + (f", {','.join(params)}" if params else "")
    recipe = snapshot.Recipe(
        host_of(bochs), f"{bochs.name} {bochs.version}, {bochs.model}, Linux {kernel.version} with {how}",
        kernel.image.read_bytes(), initramfs.build(program.read_bytes(), files), machine.MEMORY_MB[vmm],
    )  # fmt: skip
    return KvmEngine(
        bochs.name, bochs.version, bochs.model, below=bochs, snapshot=snapshot.get(recipe, say), title=title, params=params
    )
