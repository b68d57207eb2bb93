"""Dead letters: read, choose, and send them through the pipeline again, each once.

``letter``, ``filters`` and ``marks`` are pure; ``store`` talks to the broker; ``replay`` puts them together.
"""
