"""Compute `docker-local`: each lease is a container that runs buildkitd, made through the Docker Engine API.

Never here: an image that is pulled, a port that is opened, or an effect on a container that does not say that it is
this lease's.
"""
