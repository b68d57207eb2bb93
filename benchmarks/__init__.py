"""The benchmarks: this project against what a user would write otherwise, and against the processor's limit."""
