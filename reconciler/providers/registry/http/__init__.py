"""HTTP with a registry: who asks, how often, and what came back. Never here: what is asked for."""
