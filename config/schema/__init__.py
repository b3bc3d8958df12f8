"""The shape of the configuration document: the keys of each section, and the declared value that it becomes."""
