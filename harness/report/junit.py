# SPDX-License-Identifier: BSD-2-Clause
"""JUnit XML: one suite per machine, one case per result."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from harness.verdicts import Outcome, Verdict

_ODD = re.compile(r"[^\t\n\r\x20-\x7e]")


def _xml_text(text: str) -> str:
    """XML 1.0 has no control characters at all."""
    return _ODD.sub("?", text)


def render(document: dict[str, Any]) -> ET.ElementTree:
    root = ET.Element("testsuites", name="lhv")
    machines: dict[str, list[dict[str, Any]]] = {}
    for row in document["results"]:
        machines.setdefault(f"{row['stack']}/{row['arch']}/{row['cpus']}cpu", []).append(row)
    for name, rows in machines.items():
        suite = ET.SubElement(root, "testsuite", name=name, tests=str(len(rows)))
        counts = {"failures": 0, "errors": 0, "skipped": 0}
        for row in rows:
            case = ET.SubElement(
                suite, "testcase", classname=name, name=row["id"], time=f"{row['seconds'] or 0:.3f}"
            )
            if kind := _outcome(case, row):
                counts[kind] += 1
            if row["outcome"] != Outcome.OK.value:
                ET.SubElement(case, "system-out").text = _xml_text(document["logs"].get(row["log"], ""))
        suite.attrib.update({k: str(v) for k, v in counts.items()})
    return ET.ElementTree(root)


def _outcome(case: ET.Element, row: dict[str, Any]) -> str:
    outcome = Outcome(row["outcome"])
    properties = ET.SubElement(case, "properties")
    for key in ("verdict", "expected", "outcome", "reason"):
        ET.SubElement(properties, "property", name=key, value=_xml_text(str(row[key])))
    message = _xml_text(f"{row['verdict']}: {row['reason']} {row['note']}".strip())
    if outcome.fails:
        broken = row["verdict"] in (Verdict.ERROR.name, Verdict.INFRA.name)
        kind, plural = ("error", "errors") if broken else ("failure", "failures")
        element = ET.SubElement(case, kind, type=row["verdict"], message=message)
        element.text = f"{outcome.value}; expected {row['expected']}\nrepeat: {row['repeat']}"
        return plural
    if outcome is Outcome.KNOWN or row["verdict"] == Verdict.SKIP.name:
        text = f"known: {row['known']['reason']} {row['known']['link']}; " if row["known"] else ""
        ET.SubElement(case, "skipped", message=_xml_text(text) + message)
        return "skipped"
    return ""


def write(document: dict[str, Any], path: Path) -> None:
    tree = render(document)
    ET.indent(tree)
    tree.write(path, encoding="utf-8", xml_declaration=True)
