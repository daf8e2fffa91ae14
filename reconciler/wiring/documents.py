"""Documents against their schemas, on their way out and in."""

from __future__ import annotations

from typing import Any

from reconciler.model.problem import LianError, Next, Problem


def checked(schema: str, document: dict[str, Any]) -> dict[str, Any]:
    """The document, if it is what schemas/json/SCHEMA.json says. Raises LianError `document-invalid` if it is not."""
    cause = wrong_in(schema, document)
    if cause is None:
        return document
    message = f"what lian would print is no document of schemas/json/{schema}.json"
    raise LianError(Problem("document-invalid", message, cause=cause, hint="report it", next=Next.BUG))


def wrong_in(schema: str, document: Any) -> str | None:
    """In what a document is not what schemas/json/SCHEMA.json says; None if it is."""
    from reconciler.desired import packaged
    from reconciler.desired.nickel.twin import Twin, dotted

    twin = Twin(packaged.find().document(f"schemas/json/{schema}.json"))
    if twin.accepts(document):
        return None
    return "; ".join(f"{dotted(finding.path)}: {finding.message}" for finding in twin.findings(document))
