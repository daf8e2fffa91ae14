"""Keys: when is an artifact up to date (design section 5)? Pure functions of what the commit and the registry hold.

Never here: a clock, randomness, input or output. The pass time comes in as a number.
"""
