"""What looks and acts from outside: status, dead letters, replay. Never inside a worker."""
