"""The network: HTTP and XRPC requests, sessions with a PDS, and where accounts live.

Every request of the package is sent from here, but for the stream that `follow` connects to.
"""
