"""What the core needs from outside, one Protocol per file. Never here: an implementation."""
