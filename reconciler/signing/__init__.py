"""Signatures and provenance for images in sync that have none yet: `lian sign`. It builds nothing and moves no tag."""
