"""The nouns: frozen values that parse and print themselves.

Never here: clock, randomness, input or output, logging, or an import of another room.
"""
