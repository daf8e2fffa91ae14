"""Upkeep of the build cache: what is there, how much it takes, and taking away what need not stay. Never here: a rule
of what goes (that is pure, and in `cache`), and a provider."""
