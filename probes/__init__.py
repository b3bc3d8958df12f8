"""Looking and judging: reads files and opens sockets, never changes anything."""
