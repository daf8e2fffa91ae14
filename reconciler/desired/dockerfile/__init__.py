"""Reads Dockerfiles as BuildKit's own frontend does, as far as identity needs it: stages and what they bring in.

Pure: bytes in, facts out; it never touches files, registries or builders. Where lian would see something else than
BuildKit, it would pin the wrong images; so BuildKit's packages are the oracle in the tests.
"""

from reconciler.desired.dockerfile.facts import DockerfileFacts, Stage, read_dockerfile
from reconciler.desired.dockerfile.mounts import CacheMountSeen
from reconciler.desired.dockerfile.remotes import RemoteKind, RemoteSource
from reconciler.desired.dockerfile.requirements import ImageNeed, Requirements, requirements

__all__ = [
    "CacheMountSeen",
    "DockerfileFacts",
    "ImageNeed",
    "RemoteKind",
    "RemoteSource",
    "Requirements",
    "Stage",
    "read_dockerfile",
    "requirements",
]
