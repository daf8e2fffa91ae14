"""Begin with lian: a desired repo from nothing, or from what other tools' files say of images.

Pure but for its ports: what lies in the folder, what a Dockerfile stands on, what buildx makes of a bake file, and
writing. Nothing that is there is ever changed. Never here: a provider, printing.
"""
