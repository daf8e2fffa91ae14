"""Adapters of the port `compute`: each rents runners from one kind of place and returns them, always.

Never here: what is built, how a build is started, or an effect on anything that a lease of lian does not own.
"""
