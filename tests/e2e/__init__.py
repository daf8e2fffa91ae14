"""Whole journeys: the real command on a real git repo, with real Nickel, BuildKit and registries."""
