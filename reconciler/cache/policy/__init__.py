"""Access control for registries, rendered from the rules; and what is deployed, compared with them (ADR 053).

Each kind of registry has one module, which renders and reads back its own form. What is deployed is never sampled:
patterns are read as finite automata, and each class of repositories that they tell apart is looked at once.
"""
