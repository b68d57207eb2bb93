"""The page: what comes out of the topics, in a browser. An ordinary consumer, in a process of its own."""
