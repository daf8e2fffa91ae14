"""Sign what is said of images, attach it, find it again, and tell what of it holds.

Never here: a private key, an algorithm, a concrete registry, or a decision what is to be signed.
"""
