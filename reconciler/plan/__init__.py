"""Decide: compare desired with observed, explain each difference, order the work. Pure.

Never here: a clock, randomness, input or output, or a port.
"""
