"""What sends: sources of documents (RSS and Atom, SSE, HTTP, files, JSON lines) and one reliable sender."""
