"""The shape of the configuration document: what each section takes, and how it becomes a declared thing."""
