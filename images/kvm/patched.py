#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Builds KVM of a Debian kernel with patches, for --kernel and --kvm-modules (docs/kvm-patched.md).

Exit codes: 0 done, 2 wrong usage, 3 it can't be built.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from images.common import ImageError, find_tool, program
from images.kvm import kernels, modules, source, store
from images.logged import logged_run

BUILD = Path(__file__).resolve().parent.parent.parent / "build" / "kvm-patched"
KVM = "arch/x86/kvm"


def choose(line: str, version: str) -> kernels.Kernel:
    """The kernel that the modules are for: of those here whose source is here too the newest, else the archive's."""
    if not version:
        here = [v for v in store.versions(line) if source.ready(line, v)]
        version = here[-1] if here else ""
    return kernels.fetch(line, version)


def apply(tree: Path, patches: Sequence[Path], log: Path) -> None:
    find_tool("patch")
    for patch in patches:
        try:
            logged_run(["patch", "-p1", "--forward", "--batch", "-i", str(patch.resolve())], log, folder=tree)
        except ImageError as e:
            raise ImageError(f"{patch} doesn't apply to this kernel: {e}") from e


def build(kernel: kernels.Kernel, patches: Sequence[Path], out: Path, jobs: int) -> None:
    """Into `out`, which is made anew: bzImage, modules, configuration; and the tree that they were made from."""

    def tell(what: str) -> None:
        print(f"kvm-patched: {what}", file=sys.stderr, flush=True)

    def dot() -> None:
        tell("...")

    if not source.ready(kernel.line, kernel.version):
        tell(f"fetches and prepares the source of Linux {kernel.line} {kernel.version}, some minutes")
    pristine = source.prepared(kernel.line, kernel.version, jobs, progress=dot)
    changed = source.changed_options(pristine)
    if changed:
        tell(f"this compiler isn't Debian's for that kernel: it changes {len(changed)} options, {' '.join(changed[:4])} ...")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    tree, log = out / "tree", out / "log"
    # Hard links would let the build write into the cache.
    logged_run(["cp", "-a", "--reflink=auto", f"{pristine}/.", str(tree)], log, folder=out)
    apply(tree, patches, log)
    tell(f"builds {KVM}")
    source.run_make(tree, [f"M={KVM}", "modules"], jobs, dot)
    release = source.release_of(pristine)
    for name in ("kvm", "kvm-intel"):
        shutil.copy(tree / KVM / f"{name}.ko", out)
        made_for = modules.made_for(modules.module_bytes(out / f"{name}.ko"))
        if made_for != release:
            raise ImageError(f"{name}.ko came out for {made_for or 'no kernel'} instead of {release}")
    if "irqbypass" in kernel.modules:
        file = kernel.modules["irqbypass"]
        shutil.copy(file, out / file.name)
    shutil.copy(tree / ".config", out / "config")
    shutil.copy(kernel.image, out / "bzImage")
    kernels.from_build(out / "bzImage", out)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="patched.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("patches", nargs="*", type=Path, metavar="PATCH", help="applied with -p1, in this order")
    parser.add_argument("--line", default="6.1", choices=kernels.lines(), help="of kernels (default: %(default)s)")
    parser.add_argument("--version", default="", help="of Debian's package (default: the newest)")
    parser.add_argument("--name", default="", help="of the folder below build/kvm-patched")
    parser.add_argument("-j", dest="jobs", type=int, default=os.cpu_count() or 1, help="jobs of make")
    arguments = parser.parse_args(argv)
    for patch in arguments.patches:
        if not patch.is_file():
            parser.error(f"{patch}: no such file")
    return arguments


def work(a: argparse.Namespace) -> None:
    name = a.name or "+".join(patch.stem for patch in a.patches) or "unpatched"
    out = BUILD / f"{a.line}-{name}"
    kernel = choose(a.line, a.version)
    build(kernel, a.patches, out, a.jobs)
    where = out.relative_to(Path.cwd()) if out.is_relative_to(Path.cwd()) else out
    count = f"{len(a.patches)} patch{'es' if len(a.patches) != 1 else ''}"
    print(f"KVM of Linux {kernel.line} {kernel.version} with {count} is in {where}. To run it:")
    print(f"  ./run_tests.py --stack bochs --stack bochs/kvm --kernel {where}/bzImage --kvm-modules {where}")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    return program("kvm-patched", lambda: work(arguments))


if __name__ == "__main__":
    sys.exit(main())
