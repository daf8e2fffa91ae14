"""Folders of cache mounts as archives: a tar in one form, compressed with zstd.

Whoever can write to a cache can write anything, so an archive is read as if an enemy had made it, with a reader of our
own that knows four kinds of members and nothing else. What a builder is given is written anew from what was understood.
"""
