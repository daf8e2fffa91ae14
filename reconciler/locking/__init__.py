"""Pins what moves: `lian lock`. It asks registries, repositories and web servers, and writes lian.lock alone."""
