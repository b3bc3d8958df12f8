"""The documents are true: links, commands, configurations, generated pages, names."""
