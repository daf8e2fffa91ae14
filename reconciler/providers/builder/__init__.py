"""Adapters of the port `builder`, and the programs they need: one build at a time through BuildKit's own client.

Never here: what to build, where a runner comes from, or a second attempt at a build that failed.
"""
