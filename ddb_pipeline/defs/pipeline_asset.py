"""Decorators of a pipeline's assets and checks: Dagster's own for the first of each kind."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.defs import copies
from ddb_pipeline.defs.automation import RETRY
from ddb_pipeline.defs.failures import readable_failures


def fresh_within(pipeline: PipelineConfig) -> dg.FreshnessPolicy | None:
    """The configured freshness policy; None where there is none."""
    window = pipeline.assets.fresh_within
    return None if window is None else dg.FreshnessPolicy.time_window(fail_window=window)


def pipeline_asset(
    *,
    key: dg.AssetKey,
    deps: Sequence[dg.AssetKey | dg.AssetDep],
    description: str,
    pipeline: PipelineConfig,
    kinds: set[str],
    pool: str | None = None,
    partitions_def: dg.PartitionsDefinition[Any] | None = None,
    check_specs: Sequence[dg.AssetCheckSpec] = (),
    io_manager_key: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    freshness_policy: dg.FreshnessPolicy | None = None,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """As ``dagster.asset`` with these arguments and what all assets of a pipeline have.

    These are its group, owners and tags, the retries, and readable failures.

    The decorated function may differ from others of the same source in the variables that it
    encloses, but not in its parameters' types.
    """
    spec = dg.AssetSpec(
        key=key,
        deps=deps,
        description=description,
        group_name=pipeline.group_name,
        kinds=kinds,
        owners=pipeline.assets.owners,
        tags=pipeline.assets.tags,
        partitions_def=partitions_def,
        metadata=metadata,
        freshness_policy=freshness_policy,
    )

    def decorate(function: Callable[..., Any]) -> dg.AssetsDefinition:
        source = function.__code__
        kind = copies.KINDS.get(source)
        function = readable_failures(function)
        if kind is not None:
            return copies.asset_like(kind, function, spec, pool, check_specs)
        defined = dg.asset(
            key=key,
            deps=deps,
            description=description,
            group_name=pipeline.group_name,
            kinds=kinds,
            owners=pipeline.assets.owners,
            tags=pipeline.assets.tags,
            partitions_def=partitions_def,
            freshness_policy=freshness_policy,
            check_specs=check_specs,
            io_manager_key=io_manager_key,
            metadata=metadata,
            retry_policy=RETRY,
            pool=pool,
        )(function)
        copies.new_kind(source, function, defined)
        return defined

    return decorate


def pipeline_check(
    *, asset: dg.AssetKey, name: str, description: str
) -> Callable[[Callable[..., Any]], dg.AssetChecksDefinition]:
    """As ``dagster.asset_check`` with these arguments; see :func:`pipeline_asset`."""

    def decorate(function: Callable[..., Any]) -> dg.AssetChecksDefinition:
        source = function.__code__
        kind = copies.KINDS.get(source)
        function = readable_failures(function)
        if kind is not None:
            spec = dg.AssetCheckSpec(name=name, description=description, asset=asset)
            return copies.check_like(kind, function, spec)
        defined = dg.asset_check(asset=asset, name=name, description=description)(function)
        copies.new_kind(source, function, defined)
        return defined

    return decorate
