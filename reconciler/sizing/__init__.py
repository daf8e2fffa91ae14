"""How large a runner a build gets. Pure rules over data. Never here: a clock, input or output, a provider."""
