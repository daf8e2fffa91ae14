"""Reads what is wanted: one git commit, its Nickel directives, Dockerfiles and context folders -> `Desired`.

Fills the port `Source`. Never here: deciding what to build or whether anything is up to date, touching a registry,
reading the working tree, running anything that the commit or the repository's configuration names (hooks, filters).
"""
