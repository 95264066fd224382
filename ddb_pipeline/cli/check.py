"""``ddb-pipeline check``: a configuration compared with the account, before it is deployed."""

import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import click

from ddb_pipeline.adoption.costs import (
    CostLine,
    Load,
    monthly_cost,
    prices,
    total,
)
from ddb_pipeline.adoption.findings import Finding, Level, has_errors
from ddb_pipeline.adoption.inspection import Inspected, Inspector, problems
from ddb_pipeline.config.cron import runs_a_day
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings, load_settings
from ddb_pipeline.resources.cloud import CloudResource

MULTIPLES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}
COLOURS = {Level.ERROR: "red", Level.WARNING: "yellow", Level.UNKNOWN: "cyan"}
WORDS = {Level.UNKNOWN: "not read"}
SHOWN_PIPELINES = 3
RATES = {"1 M": 1e6, "100 M": 1e8, "10 B": 1e10}
"""Changes a day for which the cost is shown besides."""


class Rate(click.ParamType[float]):
    """A number of items, such as 1000000, 1M or 10B."""

    name = "number"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """The number."""
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s?([kKmMbB]?)", str(value).strip())
        if found is None:
            self.fail(f"{value!r} is not a number such as 1000000, 1M or 10B.", param, ctx)
        return float(found[1]) * MULTIPLES[found[2].lower()]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a pipeline costs a month, and what it has to do.

    Attributes:
        at_rates: dollars a month at each of ``RATES``.
    """

    pipeline: str
    load: Load
    lines: tuple[CostLine, ...]
    at_rates: tuple[float, ...] = ()


@click.command("check")
@click.argument("pipeline", required=False)
@click.option("--role", default="", help="ARN of Dagster's role. Default: the caller's.")
@click.option(
    "--items-per-day",
    type=Rate(),
    help="Changes of each table for the costs, such as 1M. Default: from the table's metrics.",
)
@click.option("--item-bytes", type=click.IntRange(min=1), help="Size of an item for the costs.")
@click.option("--all", "everything", is_flag=True, help="Show what is in order, too.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def check(
    pipeline: str | None,
    role: str,
    items_per_day: float | None,
    item_bytes: int | None,
    everything: bool,
    as_json: bool,
) -> None:
    """Compare the configuration with the account.

    Looks at the permissions of Dagster's role, and for each pipeline, or for PIPELINE, at table,
    stream, point-in-time recovery, bucket, database, Lake Formation and quotas, and computes what
    it costs a month. Nothing is changed.

    The exit status is 1 if a pipeline would not work.
    """
    settings = load_settings()
    chosen = [settings.pipeline(pipeline)] if pipeline else list(settings.pipelines)
    cloud = CloudResource.of(settings, deploys=False)
    caller = cloud.client("sts").get_caller_identity()
    inspectors = inspectors_of(cloud, settings, chosen)
    inspected = [inspectors[each.name].inspect(each) for each in chosen]
    new = Counter(each.pipeline.region for each in inspected if not each.deployed)
    regional = {each.region: inspectors[each.name] for each in chosen}
    permissions = inspectors[chosen[0].name].permissions
    findings = [
        *permissions(chosen, caller["Account"], role or caller["Arn"]),
        *(found for region, each in regional.items() for found in each.account(new[region])),
        *(finding for each in inspected for finding in each.findings),
    ]
    costs = [
        cost_of(inspectors[each.pipeline.name], each, items_per_day, item_bytes)
        for each in inspected
    ]
    if as_json:
        click.echo(report_json(findings, costs))
    else:
        click.echo(report_text(findings, costs, everything=everything))
    if has_errors(findings):
        sys.exit(1)


def inspectors_of(
    cloud: CloudResource, settings: Settings, pipelines: Sequence[PipelineConfig]
) -> dict[str, Inspector]:
    """The inspector of each pipeline by name: one for all that use the same clients."""
    found: dict[int, Inspector] = {}
    by_name = {}
    for each in pipelines:
        there = cloud.for_pipeline(each)
        if id(there) not in found:
            # The embedded AWS has another one than the configuration.
            region = there.s3.meta.region_name
            found[id(there)] = Inspector(there.client, region, settings.lake)
        by_name[each.name] = found[id(there)]
    return by_name


def cost_of(
    inspector: Inspector, inspected: Inspected, rate: float | None, item_bytes: float | None
) -> Cost:
    """What a pipeline costs a month."""
    load = inspector.load(inspected, rate, item_bytes)
    pipeline = inspected.pipeline
    crawls = runs_a_day(pipeline.crawl_schedule)
    lines = monthly_cost(pipeline, load, crawls)
    others = [replace(load, items_a_day=rate) for rate in RATES.values()]
    at_rates = tuple(total(monthly_cost(pipeline, each, crawls)) for each in others)
    return Cost(pipeline.name, load, tuple(lines), at_rates)


def report_json(findings: Sequence[Finding], costs: Sequence[Cost]) -> str:
    """The report as one JSON object."""
    return json.dumps(
        {
            "errors": has_errors(findings),
            "findings": [{**asdict(each), "level": each.level.value} for each in findings],
            "prices": {key: prices()[key] for key in ("date", "source", "region", "currency")},
            "costs": [
                {
                    "pipeline": each.pipeline,
                    **asdict(each.load),
                    "dollars_a_month": round(total(each.lines), 2),
                    "dollars_at_rates": dict(zip(RATES, each.at_rates, strict=True)),
                    "parts": [{**asdict(p), "dollars": round(p.dollars, 4)} for p in each.lines],
                }
                for each in costs
            ],
        }
    )


def report_text(
    findings: Sequence[Finding], costs: Sequence[Cost], *, everything: bool = False
) -> str:
    """The report for a terminal: problems, a summary, and costs."""
    shown = list(findings) if everything else problems(findings)
    lines = [line for each in together(shown) for line in finding_lines(each)]
    counts = {level: sum(each.level is level for each in findings) for level in Level}
    lines.append(
        f"{len(findings)} checks: {counts[Level.ERROR]} error(s), {counts[Level.WARNING]} "
        f"warning(s), {counts[Level.UNKNOWN]} not readable."
    )
    return "\n".join([*lines, *cost_text(costs)])


def together(findings: Sequence[Finding]) -> list[Finding]:
    """The findings, of which equal ones of several pipelines are one that names them."""
    pipelines: dict[Finding, list[str]] = {}
    for each in findings:
        pipelines.setdefault(replace(each, pipeline=""), []).append(each.pipeline)
    return [replace(each, pipeline=named(names)) for each, names in pipelines.items()]


def named(pipelines: Sequence[str]) -> str:
    """Some pipelines by name, the others by number."""
    rest = len(pipelines) - SHOWN_PIPELINES
    return ", ".join(pipelines[:SHOWN_PIPELINES]) + (f" and {rest} more" if rest > 0 else "")


def finding_lines(finding: Finding) -> list[str]:
    """A finding as text: level, pipeline and subject, what was found, what to do."""
    level = WORDS.get(finding.level, finding.level.value)
    styled = click.style(level, fg=COLOURS.get(finding.level))
    where = ": ".join(filter(None, (finding.pipeline, finding.subject)))
    return [
        f"{styled} {where}: {finding.text}",
        *(f"    {line}" for line in finding.fix.splitlines()),
    ]


def part_line(part: CostLine) -> str:
    """A part of a cost: quantity times price, and how the quantity is computed."""
    price = f"{part.price:.10f}".rstrip("0")
    product = f"{amount(part.quantity)} x ${price} per {part.unit}"
    return f"    ${part.dollars:>12,.2f} = {product}: {part.formula}"


def amount(quantity: float) -> str:
    """A number with as many digits as matter."""
    return f"{quantity:,.0f}" if quantity >= 100 else f"{quantity:.3g}"


def cost_text(costs: Sequence[Cost]) -> list[str]:
    """The costs: the parts of one pipeline, a line for each of several."""
    known = prices()
    lines = [
        "",
        f"Costs a month in {known['region']}, {known['currency']}, without Dagster's machine and "
        f"queries, with the prices of {known['date']} in ddb_pipeline/adoption/prices.json:",
    ]
    for each in costs:
        load = each.load
        lines.append(
            f"  {each.pipeline}: ${total(each.lines):,.2f} with {load.items_a_day:,.0f} changes a "
            f"day of {load.item_bytes:,.0f} B ({load.source})"
        )
        if len(costs) == 1:
            shown = (f"{n}: ${d:,.2f}" for n, d in zip(RATES, each.at_rates, strict=True))
            lines.append(f"    at other rates, changes a day: {'; '.join(shown)}")
            lines += map(part_line, each.lines)
    if len(costs) > 1:
        whole = sum(total(each.lines) for each in costs)
        lines.append(f"  all: ${whole:,.2f}. For the parts: ddb-pipeline check PIPELINE")
    lines.append(f"  Prices are of {known['source']}.")
    return lines
