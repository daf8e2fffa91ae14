"""Retention by reachability: what nothing wanted reaches is taken away. Never here: what removes, and a provider."""
