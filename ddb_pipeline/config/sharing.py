"""What pipelines may share and what not: each resource has one stack that creates it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from ddb_pipeline.config.lake_stack import LakeConfig
from ddb_pipeline.config.names import catalog_tables
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.lake.layout import RESERVED_PREFIXES


def _anywhere(pipeline: PipelineConfig) -> str:
    return ""


def _region(pipeline: PipelineConfig) -> str:
    return pipeline.region


def _catalog(pipeline: PipelineConfig) -> str:
    """The catalog, of which each account has one in each region."""
    return f"{pipeline.region} {pipeline.catalog_id}"


Place = Callable[[PipelineConfig], str]
Names = Callable[[PipelineConfig], Iterable[str]]

UNIQUE_NAMES: Mapping[str, tuple[Place, Names]] = {
    "name": (_anywhere, lambda each: [each.name]),
    "stack": (_region, lambda each: [each.stack]),
    "crawler": (_region, lambda each: [each.crawler]),
    "change_queue": (_region, lambda each: [] if each.lake_name else [each.change_queue]),
    "delivery_stream": (_region, lambda each: [each.delivery_stream]),
    "catalog table": (_catalog, lambda each: map(str, catalog_tables(each))),
}
"""What no two pipelines may share, by how an error names it, and where it is unique."""
CREATED_NAMES: Mapping[str, tuple[Place, Callable[[PipelineConfig], str]]] = {
    "bucket": (_anywhere, lambda each: "" if each.existing_bucket else each.bucket),
    "database": (_region, lambda each: "" if each.existing_database else each.database),
}
"""What the stack of one pipeline only may create; empty where it creates none."""


def sharing_problems(
    pipelines: Sequence[PipelineConfig], lake: LakeConfig | None = None, region: str = ""
) -> Iterator[str]:
    """Why these pipelines cannot run side by side, a sentence each; none where they can.

    Args:
        pipelines: all pipelines.
        lake: the stack that some of them share.
        region: the lake's region.
    """
    if lake is not None:
        yield from (
            f"{each.name} has the name of the lake or of its stack; give one of them another"
            for each in pipelines
            if lake.name == each.name or lake.stack == each.stack
        )
        yield from _outside_of_the_lake(pipelines, lake, region)
    yield from _repeated_names(pipelines)
    yield from _repeated_creations(pipelines)
    yield from _buckets_of_two_regions(pipelines)
    yield from _mixed_lakes(pipelines)


def _outside_of_the_lake(
    pipelines: Sequence[PipelineConfig], lake: LakeConfig, region: str
) -> Iterator[str]:
    """Pipelines that cannot use the lake's stack."""
    for each in pipelines:
        if each.lake_name == lake.name and each.region != region:
            yield (
                f"{each.name} is in {each.region}, and lake {lake.name!r}, whose stack it uses, in "
                f"{region}; give it a bucket of its own, with which it has a stack of its own, or "
                "configure a lake for each region, in a file and a code location of its own"
            )


def _repeated_names(pipelines: Sequence[PipelineConfig]) -> Iterator[str]:
    for what, (place_of, names_of) in UNIQUE_NAMES.items():
        owners: dict[tuple[str, str], str] = {}
        for each in pipelines:
            place = place_of(each)
            for name in names_of(each):
                former = owners.get((place, name))
                if former and what == "name":
                    yield f"the name {name!r} is given twice"
                elif former:
                    yield (
                        f"{former} and {each.name} have the same {what}, {name!r}; give each "
                        "pipeline its own"
                    )
                owners[place, name] = each.name


def _repeated_creations(pipelines: Sequence[PipelineConfig]) -> Iterator[str]:
    """Buckets and databases that the stacks of two pipelines would create."""
    for what, (place_of, name_of) in CREATED_NAMES.items():
        owners: dict[tuple[str, str], str] = {}
        for each in pipelines:
            key = place_of(each), name_of(each)
            if key[1] and key in owners:
                yield (
                    f"{owners[key]} and {each.name} have the same {what}, {key[1]!r}, and the "
                    f"stack of each would create it; set existing_{what} = true for all but one"
                )
            owners[key] = each.name


def _buckets_of_two_regions(pipelines: Sequence[PipelineConfig]) -> Iterator[str]:
    """Buckets of which one pipeline at least is in another region.

    A bucket's events arise in its region, and pyarrow reads it there only.
    """
    owners: dict[str, PipelineConfig] = {}
    for each in pipelines:
        owner = owners.setdefault(each.bucket, each)
        if owner.region != each.region:
            yield (
                f"{owner.name} and {each.name} are in {owner.region} and {each.region} and have "
                f"the same bucket, {each.bucket!r}; give each region a bucket"
            )


def _mixed_lakes(pipelines: Sequence[PipelineConfig]) -> Iterator[str]:
    """Pipelines of which one would find the other's objects under its prefixes."""
    folders: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for pipeline in pipelines:
        folders[pipeline.bucket] += ((folder, pipeline.name) for folder in lake_folders(pipeline))
    for bucket, found in folders.items():
        # The folders of one pipeline contain none of each other, so that what one contains of
        # another pipeline follows it in this order.
        for (folder, owner), (next_folder, next_owner) in pairwise(sorted(found)):
            if next_folder.startswith(folder) and owner != next_owner:
                yield (
                    f"{owner} and {next_owner} would both use {next_folder} in bucket {bucket!r}; "
                    "give each pipeline a lake_prefix of its own"
                )
                break


def lake_folders(pipeline: PipelineConfig) -> Iterator[str]:
    """The prefixes in the bucket under which a pipeline has its objects."""
    for prefix in RESERVED_PREFIXES:
        yield pipeline.lake.object_key(prefix)
    yield f"{pipeline.bucket_export_prefix}/"
