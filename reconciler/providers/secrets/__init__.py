"""Where credentials lie outside of lian: a variable, a file, the output of a command.

Never here: what a credential is for, or who may name it; and nothing of one ever stands in a problem.
"""
