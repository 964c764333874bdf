# SPDX-License-Identifier: BSD-2-Clause
"""Bochs' configuration file and command line, for Debian's 2.7 and for builds of 3.x. Reasons: docs/bochs.md."""

from __future__ import annotations

import functools
import re
import subprocess
import tempfile
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
    second: str | Path | None = None,
    com1_path: str | Path,
    log_path: str | Path,
    ips: int = DEFAULT_IPS,
    magic_break: bool = False,
    port_e9: bool = False,
    msrs: str | Path | None = None,
) -> str:
    """The text of a configuration file. The disk is the boot device if there is one, else the CD-ROM.

    msrs is a file with MSRs that Bochs doesn't know. It names no display: which there is depends on the build, so command() does. Nothing else differs from 2.7 to 3.0.
    Paths should be absolute, or relative to the folder that Bochs is started in.
    """
    if not re.fullmatch(r"[a-z0-9_]+", model):
        raise ImageError(f"{model!r} is not the name of a CPU model of Bochs")
    if model == "bx_generic" and version >= (3, 0):
        raise ImageError("Bochs 3.0 has no CPU model bx_generic any more")
    if not 1 <= cpus <= 8:
        raise ImageError(f"{cpus} CPUs: 1 to 8 are possible")
    if disk is None and cdrom is None:
        raise ImageError("neither disk nor CD-ROM: nothing to boot from")
    lines = [
        "config_interface: textconfig",
        f"memory: guest={memory_mb}, host={memory_mb}",
        f"romimage: file={bios(BIOS, 'bochsbios')}, options=fastboot",
        f"vgaromimage: file={bios(VGA_BIOS, 'vgabios')}",
        f"cpu: model={model}, count={cpus}, ips={ips}, reset_on_triple_fault=0, ignore_bad_msrs=0"
        + (f", msrs={quoted(msrs)}" if msrs is not None else ""),
        "clock: sync=none, time0=1700000000",
        # Its timer follows the host's clock by default.
        "vga: extension=vbe, update_freq=5, realtime=0",
        "ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14",
        "ata1: enabled=1, ioaddr1=0x170, ioaddr2=0x370, irq=15",
    ]
    if disk is not None:
        lines.append(f"ata0-master: type=disk, path={quoted(disk)}, mode=flat")
    if cdrom is not None:
        lines.append(f"ata1-master: type=cdrom, path={quoted(cdrom)}, status=inserted")
    if second is not None:
        # The BIOS numbers disks in this order: 0x80, 0x81.
        lines.append(f"ata0-slave: type=disk, path={quoted(second)}, mode=flat")
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


# The displays that want neither a terminal nor an X server, best first. Debian's packages have only the second,
# which opens a TCP port from 5900 on.
DISPLAYS = {"nogui": "display_library: nogui", "rfb": 'display_library: rfb, options="timeout=0"'}


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


def command(
    bochs_path: str | Path, version: Version, rc_path: str | Path, debugger: bool, commands: str = "continue\nquit\n"
) -> list[str]:
    """The command that runs Bochs without asking anything.

    A build that starts in its debugger waits for commands: they come from rc_path + ".dbg", which is written here.
    """
    args = [str(bochs_path), "-q", "-f", str(rc_path)]
    if debugger:
        script = Path(f"{rc_path}.dbg")
        try:
            script.write_text(commands)
        except OSError as e:
            raise ImageError(f"{script}: {e.strerror}") from e
        args += ["-rc", str(script)]
    display = find_display(str(bochs_path))
    # What comes after the options is read as more lines of the configuration file.
    return [*args, display] if display else args


def detect(bochs_path: str | Path) -> tuple[Version, bool]:
    """Version, and whether this build starts in its debugger, by asking the program itself."""
    text = ask(str(bochs_path), "--help")
    found = re.search(r"Bochs x86 Emulator (\d+)\.(\d+)", text)
    if not found:
        raise ImageError(f"{bochs_path} doesn't look like Bochs: no version in its answer to --help")
    # From 3.0 on, a build with debugger has an option -debugger and runs at full speed without it.
    has_commands = re.search(r"^\s*-rc\s", text, re.M) is not None
    has_switch = re.search(r"^\s*-debugger\s", text, re.M) is not None
    return (int(found[1]), int(found[2])), has_commands and not has_switch


@functools.lru_cache
def find_display(bochs_path: str) -> str | None:
    """The first of our displays that this build has.

    No option lists them. But an unknown display is an error, and behind a known one the unknown directive is.
    """
    with tempfile.TemporaryDirectory(prefix="lhv-bochs-") as folder:
        rc = Path(folder, "bochsrc")
        for name, line in DISPLAYS.items():
            try:
                rc.write_text(f"{line}\nend_of_probe: 1\n")
            except OSError as e:
                raise ImageError(f"{rc}: {e.strerror}") from e
            if "end_of_probe" in ask(bochs_path, "-f", str(rc)):
                return line
    return None


def models(bochs_path: str | Path) -> list[str]:
    """The CPU models that this build knows."""
    return re.findall(r"^([a-z][a-z0-9_]*)$", ask(str(bochs_path), "--help", "cpu"), re.M)


def ask(bochs_path: str, *args: str) -> str:
    """What Bochs says to these arguments, on both outputs."""
    path = find_tool(bochs_path)
    try:
        done = subprocess.run(
            [path, "-q", *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DETECT_TIMEOUT,
        )
    except (OSError, subprocess.SubprocessError) as e:
        raise ImageError(f"{path} can't be run: {e}") from e
    return done.stdout.decode(errors="replace")
