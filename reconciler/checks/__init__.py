"""Is this machine able to do it? What `lian doctor` and `lian check` find out.

Never here: printing, a concrete provider, or repairing what was found (set-up does that).
"""
