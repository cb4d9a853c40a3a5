"""The world test: m43 as its user has it, in a network of its own that answers like the outside.

Each case runs unpatched m43 in a network, mount and process namespace in which the real host names
lead to stand-ins of this folder, behind TLS of a private authority.
"""
