"""Text to entities: the tagger, its decoding and its bundle. Knows nothing of Kafka."""
