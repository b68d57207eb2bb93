"""The offset-safe machine: an input offset is committed only when everything that came of it is stored.

The ledger, the starts, the delays and the policy are pure; transport, publisher and pipeline do the I/O.
"""
