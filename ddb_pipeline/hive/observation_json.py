"""Observations as JSON documents, in which one process passes them to another."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ddb_pipeline.hive.numbers import NumberRange
from ddb_pipeline.hive.observation import Observation


def observation_document(seen: Observation) -> dict[str, Any]:
    """An observation as a JSON object."""
    return {
        "counts": seen.counts,
        "examples": seen.examples,
        "numbers": None if seen.numbers is None else asdict(seen.numbers),
        "elements": None if seen.elements is None else observation_document(seen.elements),
        "fields": None
        if seen.fields is None
        else {name: observation_document(inside) for name, inside in seen.fields.items()},
        "values": None if seen.values is None else observation_document(seen.values),
        "objects": seen.objects,
    }


def read_observation(document: Mapping[str, Any]) -> Observation:
    """The observation of a JSON object that ``observation_document`` returned.

    Raises:
        KeyError, TypeError, AttributeError: it is another object.
    """
    seen = Observation()
    seen.counts = dict(document["counts"])
    seen.examples = {tag: tuple(keys) for tag, keys in document["examples"].items()}
    if document["numbers"] is not None:
        seen.numbers = NumberRange(**document["numbers"])
    if document["elements"] is not None:
        seen.elements = read_observation(document["elements"])
    fields = document["fields"]
    seen.fields = (
        None
        if fields is None
        else {name: read_observation(inside) for name, inside in fields.items()}
    )
    if document["values"] is not None:
        seen.values = read_observation(document["values"])
    seen.objects = document["objects"]
    return seen
