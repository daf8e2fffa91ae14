"""Nickel files of a commit -> JSON values, or every problem they have.

Purpose: run real Nickel in confined worker processes (design section 4, "Evaluation"), remember what came out, and say
precisely what is wrong with a bad file. Never here: evaluation inside lian's own process, reading a file that is not in
the commit or in the packaged schemas, or deciding what a value means.
"""
