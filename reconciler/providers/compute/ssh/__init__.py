"""Compute `ssh`: machines that exist already, each reached by SSH, on which a supervisor owns what a lease has.

Never here: a host that is trusted because it answered first, or the user's own configuration of ssh.
"""
