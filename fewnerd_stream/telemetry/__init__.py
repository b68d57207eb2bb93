"""What a worker tells: log line, health file."""
