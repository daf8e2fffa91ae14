"""Ask the registries what is there, in bulk. Never here: a decision, a write, a concrete registry."""
