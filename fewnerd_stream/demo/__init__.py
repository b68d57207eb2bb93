"""The demonstration: a broker, a worker, a feed of news, and an account of what became of each document."""
