"""Carry out a plan: rent, send, build, push, read back, record, tag, and return what was rented, always.

Never here: a decision about what is due (that is `plan`), a concrete provider.
"""
