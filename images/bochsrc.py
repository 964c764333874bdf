# SPDX-License-Identifier: BSD-2-Clause
"""Bochs' configuration file and command line, for Debian's 2.7 and for builds of 3.x. Reasons: docs/bochs.md."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from images.common import ImageError, find_tool

Version = tuple[int, int]

BIOS = Path("/usr/share/bochs/BIOS-bochs-latest")
VGA_BIOS = Path("/usr/share/vgabios/vgabios.bin")

# Emulated instructions per emulated second: few, because then a serial port's byte takes few of them.
DEFAULT_IPS = 4_000_000
DETECT_TIMEOUT = 20  # seconds


def bochsrc(
    version: Version,
    *,
    model: str = "corei7_haswell_4770",
    cpus: int = 1,
    memory_mb: int = 128,
    disk: str | Path | None = None,
    cdrom: str | Path | None = None,
    com1_path: str | Path,
    log_path: str | Path,
    ips: int = DEFAULT_IPS,
    magic_break: bool = False,
    port_e9: bool = False,
) -> str:
    """The text of a configuration file. The disk is the boot device if there is one, else the CD-ROM.

    Paths should be absolute, or relative to the folder that Bochs is started in.
    """
    if not re.fullmatch(r"[a-z0-9_]+", model):
        raise ImageError(f"{model!r} is not the name of a CPU model of Bochs")
    if not 1 <= cpus <= 8:
        raise ImageError(f"{cpus} CPUs: 1 to 8 are possible")
    if disk is None and cdrom is None:
        raise ImageError("neither disk nor CD-ROM: nothing to boot from")
    lines = [
        "config_interface: textconfig",
        display(version),
        f"memory: guest={memory_mb}, host={memory_mb}",
        f"romimage: file={bios(BIOS, 'bochsbios')}, options=fastboot",
        f"vgaromimage: file={bios(VGA_BIOS, 'vgabios')}",
        f"cpu: model={model}, count={cpus}, ips={ips}, reset_on_triple_fault=0, ignore_bad_msrs=0",
        "clock: sync=none, time0=1700000000",
        "ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14",
        "ata1: enabled=1, ioaddr1=0x170, ioaddr2=0x370, irq=15",
    ]
    if disk is not None:
        lines.append(f"ata0-master: type=disk, path={quoted(disk)}, mode=flat")
    if cdrom is not None:
        lines.append(f"ata1-master: type=cdrom, path={quoted(cdrom)}, status=inserted")
    lines += [
        f"boot: {'disk' if disk is not None else 'cdrom'}",
        f"com1: enabled=1, mode=file, dev={quoted(com1_path)}",
        # The speaker would open the machine's sound card, and `sound:` is an error in builds without sound.
        "plugin_ctrl: speaker=0",
        f"log: {quoted(log_path)}",
        "panic: action=fatal",
        "error: action=report",
        "info: action=ignore",
        "debug: action=ignore",
    ]
    # Both are off by default; in a build without debugger the second isn't even known.
    if port_e9:
        lines.append("port_e9_hack: enabled=1")
    if magic_break:
        lines.append("magic_break: enabled=1")
    return "\n".join(lines) + "\n"


def display(version: Version) -> str:
    # Debian's 2.7 has no nogui, and its rfb is the only display that wants neither a terminal nor an X server.
    if version < (3, 0):
        return 'display_library: rfb, options="timeout=0"'
    return "display_library: nogui"


def bios(path: Path, package: str) -> Path:
    if not path.is_file():
        raise ImageError(f"{path} is missing (Debian package {package}: apt-get install {package})")
    return path


def quoted(path: str | Path) -> str:
    text = str(path)
    # Bochs expands $NAME even inside quotes and knows no escapes.
    if re.search(r'["$\n\r]', text):
        raise ImageError(f'Bochs can\'t use a path with a quote or a dollar sign: {text!r}')
    return f'"{text}"'


def command(bochs_path: str | Path, version: Version, rc_path: str | Path, debugger: bool) -> list[str]:
    """The command that runs Bochs without asking anything.

    A build with debugger waits at its prompt for commands: they come from rc_path + ".dbg", which is written here.
    """
    args = [str(bochs_path), "-q", "-f", str(rc_path)]
    if debugger:
        script = Path(f"{rc_path}.dbg")
        try:
            script.write_text("continue\nquit\n")
        except OSError as e:
            raise ImageError(f"{script}: {e.strerror}") from e
        args += ["-rc", str(script)]
    return args


def detect(bochs_path: str | Path) -> tuple[Version, bool]:
    """Version and whether it is a build with debugger, by asking the program itself."""
    path = find_tool(str(bochs_path))
    try:
        done = subprocess.run(
            [path, "-q", "--help"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DETECT_TIMEOUT,
        )
    except (OSError, subprocess.SubprocessError) as e:
        raise ImageError(f"{path} can't be run: {e}") from e
    text = done.stdout.decode(errors="replace")
    found = re.search(r"Bochs x86 Emulator (\d+)\.(\d+)", text)
    if not found:
        raise ImageError(f"{path} doesn't look like Bochs: no version in its answer to --help")
    return (int(found[1]), int(found[2])), re.search(r"^\s*-rc\s", text, re.M) is not None
