"""What a worker tells: log line, health file, metrics and probes; counted in one place, `status`."""
