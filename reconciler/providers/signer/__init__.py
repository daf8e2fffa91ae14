"""Keys: sign with a private key, verify with a public one.

Never here: where a key or its password lies, or what is signed. Importing this package's modules loads `cryptography`:
wiring does so when signing or verifying is asked for.
"""
