"""How large a runner a build gets, and why. Pure rules over data. Never here: a clock, input or output, a provider, or
the sizes themselves (they are data in `defaults/` and in a fleet's settings)."""
