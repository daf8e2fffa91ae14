"""Registries: an OCI image layout on disk, any OCI distribution registry over HTTP, and the router between them.

Never here: a guess. What could not be read is Unknown or an error, never absent; content that does not have the
digest it was asked by is never returned; a credential goes to its own registry (and the token service that registry
names) and into no message. Classes that read never write: publishing is a class of its own in each module.
"""
