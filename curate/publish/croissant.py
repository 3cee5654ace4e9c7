"""The dataset's Croissant file (1.1): JSON-LD for search engines and loaders, with provenance.

The Hub makes one of its own, without sources, terms and the vocabulary of responsible AI; this one
lies beside it. https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.publish.card import Facts, contamination, cost, limits, models_of, personal, prompts_of
from curate.publish.licences import licence_of, warnings_of
from curate.rows.license_terms import UNKNOWN

if TYPE_CHECKING:
    import pyarrow as pa

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(facts: Facts, folder: Path, name: str, url: str) -> str:
    """Return `croissant.json` for the files that lie below `folder`.

    Args:
        facts: what the card says, too.
        folder: where the dataset's files are.
        name: the repository, `ORG/NAME`.
        url: the page of the dataset.
    """
    names = ", ".join(source.name for source in facts.sources) or "rows in memory"
    data: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [
            "http://mlcommons.org/croissant/1.1",
            "http://mlcommons.org/croissant/RAI/1.0",
        ],
        "name": name,
        "description": f"{facts.title}: {facts.rows:,} rows, made by curate.",
        "url": url,
        "license": licence_of(facts.sources),
        "creator": {"@type": "sc:Organization", "name": name.partition("/")[0]},
        "datePublished": str(facts.run.get("ended", ""))[:10],
        "version": "1.0.0",
        "usageInfo": [
            {"@type": "sc:CreativeWork", "description": one.replace("**", "")}
            for one in warnings_of(facts.sources)
        ],
        "prov:wasDerivedFrom": [
            {
                "@type": ["sc:Dataset", "prov:Entity"],
                "@id": source.url or f"urn:xxh3-128:{source.digest}",
                "name": source.name,
                "license": [one for one in source.licences if one != UNKNOWN],
            }
            for source in facts.sources
        ],
        "rai:dataCollection": (
            f"{facts.summary['in']:,} rows of {names}; {facts.summary['made']:,} were made of them."
        ),
        "rai:dataPreprocessingProtocol": [
            f"{step['label']} ({step['name']}): {step['in']:,} in, {step['dropped']:,} dropped"
            for step in facts.summary["steps"]
        ],
        "rai:dataAnnotationProtocol": [*models_of(facts), *prompts_of(facts)],
        "rai:personalSensitiveInformation": personal(facts),
        "rai:dataLimitations": limits(facts).replace("- ", ""),
        "rai:dataBiases": contamination(facts),
        "rai:machineAnnotationTools": models_of(facts),
        "rai:dataReleaseMaintenancePlan": f"Cost of making it: {cost(facts)}",
        "distribution": [],
        "recordSet": [],
    }
    for part in facts.parts:
        place = f"{part.config}-{part.split}"
        data["distribution"] += [_file(folder / file, file, url) for file in part.files]
        data["recordSet"].append(
            {
                "@type": "cr:RecordSet",
                "@id": place,
                "name": place,
                "description": f"{part.rows:,} rows of {part.config}, {part.split}",
                "field": [_field(place, column, part.files[0]) for column in part.schema],
            }
        )
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _file(path: Path, file: str, url: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file,
        "name": path.name,
        "contentUrl": f"{url}/resolve/main/{file}",
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def _field(place: str, column: pa.Field, file: str) -> dict[str, Any]:
    """Return the description of a column; what is nested in it is described as its parts."""
    import pyarrow as pa

    out: dict[str, Any] = {"@type": "cr:Field", "@id": f"{place}/{column.name}"}
    out |= {"name": column.name, "description": str(column.type)}
    inner = column.type
    while pa.types.is_list(inner) or pa.types.is_large_list(inner):
        out |= {"isArray": True, "arrayShape": "-1"}
        inner = inner.value_type
    if pa.types.is_struct(inner):
        place = f"{place}/{column.name}"
        out["subField"] = [_field(place, part, file) for part in inner]
    elif pa.types.is_boolean(inner):
        out["dataType"] = "sc:Boolean"
    elif pa.types.is_integer(inner):
        out["dataType"] = "sc:Integer"
    else:
        out["dataType"] = "sc:Float" if pa.types.is_floating(inner) else "sc:Text"
    out["source"] = {"fileObject": {"@id": file}, "extract": {"column": column.name}}
    return out
