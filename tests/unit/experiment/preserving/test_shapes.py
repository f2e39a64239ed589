"""Crates that are made hold the SHACL shapes of RO-Crate 1.1 and Process Run Crate, which others validate by."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.experiment.preserving.experiment import DESCRIPTION, Experiment
from toolkit.experiment.preserving.creating import Request, create
from toolkit.experiment.preserving.gathering import References

# https://w3id.org/ro/terms/workflow-run/context; that of RO-Crate is the one that rocrate carries.
RUN_TERMS = ("environment", "resourceUsage", "sha256", "sha512", "containerImage", "ContainerImage")


def package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    assert found is not None and found.origin is not None
    return Path(found.origin).parent


@pytest.fixture(scope="module")
def context() -> dict[str, Any]:
    terms = json.loads((package("rocrate") / "data" / "ro-crate.jsonld").read_text())["@context"]
    return terms | {term: f"https://w3id.org/ro/terms/workflow-run#{term}" for term in RUN_TERMS}


def messages(content: dict[str, Any], context: dict[str, Any]) -> list[tuple[str, str]]:
    """What the shapes of both profiles, demands and recommendations, say: the entity and the sentence."""
    import pyshacl
    from rdflib import Graph

    profiles = package("rocrate_validator") / "profiles"
    shapes, ontology, base = Graph(), Graph(), "file:///crate/"
    for profile in ("ro-crate/1.1", "process-run-crate"):
        for pattern in ("prefixes.ttl", "must/*.ttl", "should/*.ttl"):
            for path in (profiles / profile).glob(pattern):
                shapes.parse(path, publicID=base)
    ontology.parse(profiles / "ro-crate/1.1/ontology.ttl", publicID=base)
    data = Graph().parse(data=json.dumps(content | {"@context": context}), format="json-ld", base=base)
    _, found, _ = pyshacl.validate(data, shacl_graph=shapes, ont_graph=ontology, advanced=True, inplace=True, inference="owlrl")
    result = "http://www.w3.org/ns/shacl#"
    rows = found.query(f"SELECT ?focus ?text {{ ?one <{result}focusNode> ?focus ; <{result}resultMessage> ?text }}")
    return sorted((str(focus).removeprefix(base), str(text)) for focus, text in rows)


def test_what_the_validators_shapes_say(three_commands: Experiment, tmp_path: Path, context: dict[str, Any]) -> None:
    three_commands.ran(["false"], status=3)
    path = str(three_commands.place / "words")
    references = References({path: "https://data.example/words"})
    create(Request([three_commands.records()], DESCRIPTION, references=references), str(tmp_path / "bag"))
    content = json.loads((tmp_path / "bag/data/ro-crate-metadata.json").read_text())
    assert {key for entity in content["@graph"] for key in entity} - set(context) == {"@id", "@type"}, "words of no context"
    assert messages(content, context) == [("#command-c4", "The Action SHOULD have a result")]  # false has none
    for entity in content["@graph"]:
        if entity["@id"] == "#command-c1":
            del entity["instrument"]
        if entity["@id"] == "./":
            del entity["license"]
    said = [text for _, text in messages(content, context)]
    assert any("MUST have an instrument" in text for text in said) and any("MUST have a `license`" in text for text in said)
