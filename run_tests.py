#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Boots lhv on stacks of hypervisors and judges what comes out: ./run_tests.py --help, docs/harness.md."""

import importlib.util
import os
import sys

DEBIAN = "/usr/bin/python3"
MODULES = {
    "pytest": "python3-pytest",
    "xdist": "python3-pytest-xdist",
    "rich": "python3-rich",
    "jinja2": "python3-jinja2",
    "elftools": "python3-pyelftools",
}
EXIT_ENVIRONMENT = 3


def check_modules() -> None:
    """Another python3 may come first in PATH; Debian's modules belong to Debian's."""
    missing = [name for name in MODULES if importlib.util.find_spec(name) is None]
    if not missing and sys.version_info >= (3, 11):
        return
    if os.path.realpath(sys.executable) != os.path.realpath(DEBIAN) and os.access(DEBIAN, os.X_OK):
        os.execv(DEBIAN, [DEBIAN, os.path.abspath(__file__), *sys.argv[1:]])
    if missing:
        packages = " ".join(MODULES[name] for name in missing)
        print(f"run_tests.py: missing Python modules: {', '.join(missing)}; apt-get install {packages}", file=sys.stderr)
    else:
        print(f"run_tests.py: Python {sys.version.split()[0]} is too old, 3.11 is needed", file=sys.stderr)
    sys.exit(EXIT_ENVIRONMENT)


if __name__ == "__main__":
    check_modules()
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from harness.cli import main

    sys.exit(main(sys.argv[1:]))
