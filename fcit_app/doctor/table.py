"""The doctor's report on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fcit_app.doctor.findings import RULES, Finding
from fcit_app.doctor.report import FileReport, Kind, Report

_KINDS: Mapping[Kind, str] = MappingProxyType(
    {
        "benchmark": "FCIT's data sets (data.root of a run)",
        "shards": "a client's own shards (data-root of its SuperNode)",
        "private": "a client's private task (data-root of its SuperNode)",
    }
)


def print_report(report: Report, console: Console) -> None:
    """Print what the folder is, what is there, the partitions, and what was found."""
    console.print(
        f"Examined as {_KINDS[report.kind]}: {escape(report.root)}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(_datasets(report))
    if report.partitions:
        console.print(_partitions(report))
    for finding in report.findings:
        _print_finding(finding, console)
    errors = sum(finding.level == "error" for finding in report.findings)
    warnings = len(report.findings) - errors
    verdict = "[green]sound[/green]" if report.sound else "[red]not sound[/red]"
    console.print(
        f"{escape(report.root)}: {verdict}, {errors} kinds of error, {warnings} of warning · "
        f"prompts {escape(report.tokens)} · pictures {report.pictures} · {report.seconds:.1f} s",
        highlight=False,
        soft_wrap=True,
    )


def _datasets(report: Report) -> Table:
    table = Table(box=None, header_style="bold")
    for name in ("data set", "capability"):
        table.add_column(name)
    numbers = ("training", "of", "samples", "pictures", "no picture", "test", "of")
    for name in (*numbers, "errors", "warnings"):
        table.add_column(name, justify="right")
    table.add_column("licence")
    for entry in report.datasets:
        found = [finding for finding in report.findings if finding.where == entry.name]
        levels = [
            sum(finding.count for finding in found if finding.level == level)
            for level in ("error", "warning")
        ]
        train, test = entry.train, entry.test
        table.add_row(
            entry.name,
            entry.capability or "–",
            _records(train),
            _number(train.expected),
            _number(train.samples if train.records is not None else None),
            _number(train.pictures if train.records is not None else None),
            _text_alone(train, test),
            _records(test),
            _number(test.expected if test else None),
            *(str(count) if count else "" for count in levels),
            entry.licence or "unknown",
        )
    return table


def _partitions(report: Report) -> Table:
    table = Table(box=None, header_style="bold")
    for name in ("partition", "clients", "records", "manifest", "stages, as the data say"):
        table.add_column(name)
    for entry in report.partitions:
        manifest = "yes" if entry.manifest else "none"
        stages = ", ".join(entry.stages)
        table.add_row(entry.folder, str(entry.clients), str(entry.records), manifest, stages)
    return table


def _print_finding(finding: Finding, console: Console) -> None:
    colour = "red" if finding.level == "error" else "yellow"
    console.print(
        f"[{colour}]{finding.level}[/{colour}] {escape(finding.where)}: {finding.count} × "
        f"{RULES[finding.kind].what} ({finding.kind}). {escape(finding.mend)}",
        highlight=False,
        soft_wrap=True,
    )
    for example in finding.examples:
        console.print(f"    {escape(example)}", highlight=False, soft_wrap=True)


def _records(report: FileReport | None) -> str:
    if report is None:
        return "–"
    return "unread" if report.records is None else str(report.records)


def _text_alone(*reports: FileReport | None) -> str:
    """Count the records without a picture, of training and test; nothing if all have one."""
    counts = [report.text_alone for report in reports if report is not None]
    return str(sum(counts)) if any(counts) else ""


def _number(value: int | None) -> str:
    return "–" if value is None else str(value)
