"""Set-up: lays down what a target of the Makefile needs, and no more.

It runs before anything is installed: standard library of Python 3.11 only (and `reconciler.providers.builder.binaries`
and `tests.programs`, which keep to the same rule). It never starts a service, never asks for a password and never
leaves a part half-done.
"""
