"""The Faust agents, and nothing but their wiring."""
