"""The part of the configuration that is about the assets' pages in Dagster's UI."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ddb_pipeline.config.durations import seconds_of

OWNER = re.compile(r"team:[A-Za-z0-9_-]+|[^@\s]+@[^@\s]+\.[^@\s]+").fullmatch
"""Dagster's owners: a team or an e-mail address."""
TAG_KEY = re.compile(r"([A-Za-z0-9_.-]{1,63}/)?[A-Za-z0-9_.-]{1,63}").fullmatch
TAG_VALUE = re.compile(r"[A-Za-z0-9_.-]{0,63}").fullmatch


class AssetsConfig(BaseModel):
    """Who owns a pipeline's assets, how fresh they have to be, and what their pages show."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    owners: tuple[str, ...] = Field(
        default=(), description='E-mail addresses, or teams as "team:data".'
    )
    tags: Mapping[str, str] = Field(default={}, description="Tags of the assets.")
    fresh_within: timedelta | None = Field(
        default=None,
        description=(
            'Freshness policy of the stream and the current view, such as "2h": they fail it when '
            "they were not materialised for so long."
        ),
    )
    preview_rows: int = Field(
        default=10, ge=0, le=100, description="Rows of a dataset that its page shows."
    )
    hidden_attributes: tuple[str, ...] = Field(
        default=(),
        description=(
            "Attributes whose values no page shows, besides those that the streaming function "
            "drops or pseudonymises."
        ),
    )

    @field_validator("fresh_within", mode="before")
    @classmethod
    def _duration(cls, value: Any) -> Any:
        return seconds_of(value)

    @field_validator("fresh_within")
    @classmethod
    def _positive(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and value < timedelta(minutes=1):
            raise ValueError("a freshness policy has a window of a minute at least")
        return value

    @field_validator("owners")
    @classmethod
    def _owners(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for owner in value:
            if not OWNER(owner):
                raise ValueError(f'{owner!r} is neither an e-mail address nor a "team:NAME"')
        return value

    @field_validator("tags")
    @classmethod
    def _tags(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for key, text in value.items():
            if not TAG_KEY(key) or not TAG_VALUE(text):
                raise ValueError(
                    f"{key!r} = {text!r} is no tag of Dagster: letters, digits, '_', '-' and '.', "
                    "63 at most"
                )
        return value
