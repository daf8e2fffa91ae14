"""lian (炼): commit a Nickel directive, the registry converges."""

__version__ = "0.1.0"
