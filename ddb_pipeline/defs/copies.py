"""Assets and checks of the same kind in many pipelines, made as copies of the first of the kind.

Dagster's decorators inspect a function and its types at each use, a millisecond for each asset, and
Dagster resolves the resources of each asset again. Functions of the same source have the same types
and need the same resources, so that Dagster inspects the first one only.

The attributes that a copy replaces are not public. The tests compare each attribute of a copy with
that of a definition that Dagster made.
"""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType
from typing import Any

import dagster as dg
from dagster._core.definitions.metadata import normalize_metadata


@dataclass(slots=True, eq=False)
class Kind:
    """What the definitions of one kind have in common.

    Attributes:
        first: the first one, made by Dagster's decorator.
        signature: that of its function.
        resources: the resources that Dagster has bound to the first one, and of which.
    """

    first: dg.AssetsDefinition
    signature: inspect.Signature
    resources: tuple[Any, Any] = field(default=(None, None))

    def bound(self, given: Mapping[str, Any]) -> Any:
        """Those of the given resources that each definition of the kind needs.

        Raises:
            DagsterInvalidDefinitionError: a resource that is needed is not given.
        """
        if self.resources[0] is not given:
            self.resources = (given, self.first.with_resources(given).resource_defs)
        return self.resources[1]


KINDS: dict[CodeType, Kind] = {}
"""The kinds by the source of their functions."""


def new_kind(source: CodeType, function: Callable[..., Any], first: dg.AssetsDefinition) -> None:
    """Store the first definition of a kind, made of a function with this source."""
    KINDS[source] = Kind(first, inspect.signature(function))


class _OfKind(dg.AssetsDefinition):
    """A definition whose resources are those of its kind."""

    _kind: Kind | None = None

    def with_resources(self, resource_defs: Mapping[str, Any]) -> dg.AssetsDefinition:
        if self._kind is None or self._resource_defs:
            return super().with_resources(resource_defs)
        bound = copy.copy(self)
        bound._resource_defs = self._kind.bound(resource_defs)
        return bound


class KindAsset(_OfKind):
    """An asset after the first of its kind."""


class KindChecks(_OfKind, dg.AssetChecksDefinition):
    """A check after the first of its kind."""


def asset_like(
    kind: Kind,
    function: Callable[..., Any],
    spec: dg.AssetSpec,
    pool: str | None,
    check_specs: Sequence[dg.AssetCheckSpec],
) -> dg.AssetsDefinition:
    """An asset of a kind that is known."""
    known = kind.first.op
    result, *check_outputs = known.output_defs
    outputs = [_with_metadata(result, spec.metadata)]
    checks = {check.get_python_identifier(): check for check in check_specs}
    outputs += [
        _replaced(output, _name=name) for name, output in zip(checks, check_outputs, strict=True)
    ]
    inputs = {"_".join(dep.asset_key.path): dep.asset_key for dep in spec.deps}
    op = _op_like(kind, function, spec.key.to_python_identifier(), inputs, outputs)
    op._description = spec.description
    op._pool = pool
    made = KindAsset(
        node_def=op,
        keys_by_input_name=inputs,
        keys_by_output_name={result.name: spec.key},
        specs=[spec],
        check_specs_by_output_name=checks,
    )
    made._kind = kind
    return made


def check_like(
    kind: Kind, function: Callable[..., Any], spec: dg.AssetCheckSpec
) -> dg.AssetChecksDefinition:
    """A check of a kind that is known."""
    inputs = {"_".join(spec.asset_key.path): spec.asset_key}
    outputs = kind.first.op.output_defs
    op = _op_like(kind, function, spec.get_python_identifier(), inputs, outputs)
    made = KindChecks(
        node_def=op,
        keys_by_input_name=inputs,
        keys_by_output_name={},
        check_specs_by_output_name={output.name: spec for output in outputs},
    )
    made._kind = kind
    return made


def _op_like(
    kind: Kind,
    function: Callable[..., Any],
    name: str,
    inputs: Mapping[str, dg.AssetKey],
    outputs: Sequence[Any],
) -> dg.OpDefinition:
    """The first op with another function, and inputs and outputs of other names."""
    # Dagster asks for the signature at each run; Python takes a stored one (PEP 362).
    function.__signature__ = kind.signature  # type: ignore[attr-defined]
    input_defs = [_replaced(_nothing(), _name=name) for name in sorted(inputs)]
    known = kind.first.op
    op: dg.OpDefinition = _replaced(
        known,
        _name=name,
        # Dagster's own wrapper of a decorated function, which it makes for each op.
        _compute_fn=type(known.compute_fn)(function),  # type: ignore[misc]
        _input_defs=input_defs,
        _input_dict={each.name: each for each in input_defs},
        _output_defs=outputs,
        _output_dict={each.name: each for each in outputs},
    )
    return op


def _with_metadata(output: Any, metadata: Mapping[str, Any]) -> Any:
    """An output with the metadata of an asset, which Dagster stores in two forms."""
    normalized = normalize_metadata(metadata, allow_invalid=True)
    return _replaced(output, _raw_metadata=metadata, _metadata=normalized)


@lru_cache(maxsize=1)
def _nothing() -> Any:
    """An input that only orders, which each dependency of an asset is."""
    return dg.In(dg.Nothing).to_definition("dependency")


def _replaced(definition: Any, **attributes: Any) -> Any:
    """A copy with other attributes."""
    made = copy.copy(definition)
    made.__dict__.update(attributes)
    return made
