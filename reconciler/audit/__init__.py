"""What registries hold of a commit, for people and for other tools: images in sync, whether they are whole and whose
they are, and what else is there.

Never here: a write, or a decision what is to be built.
"""
