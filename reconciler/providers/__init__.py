"""Adapters of the ports to the outside, one package for each slot: registries, builders, compute.

Never here: an import of another slot's package or of any stage of a pass; wiring alone joins them.
"""
