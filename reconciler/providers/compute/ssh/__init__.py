"""Compute `ssh`: machines that exist already, each reached by SSH, on which a supervisor owns what a lease has.

Never here: a host that is trusted because it answered first, or the user's own configuration of ssh.
"""

import ctypes.util

# asyncssh looks for libraries that it could use besides (liboqs, nettle) by running ldconfig and gcc, which are given
# all of our environment then, credentials included (seen). It does without them.
_find_library = ctypes.util.find_library
ctypes.util.find_library = lambda name: None
try:
    import asyncssh  # noqa: F401
finally:
    ctypes.util.find_library = _find_library
