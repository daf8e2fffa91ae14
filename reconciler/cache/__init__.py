"""The build cache: where it lies, who may read and write it, what of it can be trusted, what may go. Pure functions.

Everything that decides which cache a build reads or writes is here, and nowhere else; so are the rules that a registry
is given to enforce the same. Never here: a clock, input or output, another pure room.
"""
