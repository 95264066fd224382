"""Assets of the same kind in many pipelines, defined in a third of the time of ``dagster.asset``.

Dagster's decorator inspects the decorated function and its types at each use, a millisecond for
each asset. Functions of the same source have the same types, so that only the first one is
inspected; the ops of the others are made of what was found.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import Any

import dagster as dg

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.defs.automation import RETRY
from ddb_pipeline.defs.failures import readable_failures

_FIRST: dict[CodeType, tuple[dg.AssetsDefinition, inspect.Signature]] = {}
"""The first asset of each kind and its function's signature, by the source of the function."""
_FIRST_CHECK: dict[CodeType, tuple[dg.AssetChecksDefinition, inspect.Signature]] = {}
"""As ``_FIRST``, of checks."""


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
        function = readable_failures(function)
        first = _FIRST.get(source)
        if first is not None:
            # Dagster asks for the signature seven times; Python takes a stored one (PEP 362).
            function.__signature__ = first[1]  # type: ignore[attr-defined]
            return _like(first[0], function, spec, pool, check_specs)
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
        _FIRST[source] = (defined, inspect.signature(function))
        return defined

    return decorate


def _like(
    first: dg.AssetsDefinition,
    function: Callable[..., Any],
    spec: dg.AssetSpec,
    pool: str | None,
    check_specs: Sequence[dg.AssetCheckSpec],
) -> dg.AssetsDefinition:
    """An asset whose function has the source of another's."""
    known = first.op
    result, *check_outs = known.outs.values()
    result_name = first.get_output_name_for_asset_key(first.key)
    checks = {check.get_python_identifier(): check for check in check_specs}
    inputs = {"_".join(dep.asset_key.path): dep.asset_key for dep in spec.deps}
    op = dg.OpDefinition(
        # Dagster's own wrapper of a decorated function, which it makes for each op.
        compute_fn=type(known.compute_fn)(function),  # type: ignore[misc]
        name=spec.key.to_python_identifier(),
        ins=dict.fromkeys(inputs, dg.In(dg.Nothing)),
        outs={
            result_name: result._replace(metadata=spec.metadata),
            **dict(zip(checks, check_outs, strict=True)),
        },
        description=spec.description,
        config_schema=known.config_schema,
        required_resource_keys=set(known.required_resource_keys),
        tags=known.tags,
        retry_policy=known.retry_policy,
        pool=pool,
    )
    return dg.AssetsDefinition(
        node_def=op,
        keys_by_input_name=inputs,
        keys_by_output_name={result_name: spec.key},
        specs=[spec],
        check_specs_by_output_name=checks,
    )


def pipeline_check(
    *, asset: dg.AssetKey, name: str, description: str
) -> Callable[[Callable[..., Any]], dg.AssetChecksDefinition]:
    """As ``dagster.asset_check`` with these arguments; see :func:`pipeline_asset`."""

    def decorate(function: Callable[..., Any]) -> dg.AssetChecksDefinition:
        source = function.__code__
        function = readable_failures(function)
        first = _FIRST_CHECK.get(source)
        if first is None:
            defined = dg.asset_check(asset=asset, name=name, description=description)(function)
            _FIRST_CHECK[source] = (defined, inspect.signature(function))
            return defined
        known = first[0].op
        function.__signature__ = first[1]  # type: ignore[attr-defined]
        spec = dg.AssetCheckSpec(name=name, description=description, asset=asset)
        inputs = {"_".join(asset.path): asset}
        op = dg.OpDefinition(
            compute_fn=type(known.compute_fn)(function),  # type: ignore[misc]
            name=spec.get_python_identifier(),
            ins=dict.fromkeys(inputs, dg.In(dg.Nothing)),
            outs=known.outs,
            description=known.description,
            config_schema=known.config_schema,
            required_resource_keys=set(known.required_resource_keys),
            tags=known.tags,
        )
        made: dg.AssetChecksDefinition = dg.AssetChecksDefinition.create(
            keys_by_input_name=inputs,
            node_def=op,
            check_specs_by_output_name=dict.fromkeys(known.outs, spec),
            can_subset=False,
        )
        return made

    return decorate
