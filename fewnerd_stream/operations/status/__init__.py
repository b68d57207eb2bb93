"""How the pipeline stands, seen from the broker: lag, owners, waiting retries, dead letters.

``report`` is pure; ``gather`` asks the broker.
"""
