"""Brokers: client options, clients, topic admin and checks, the embedded broker."""
