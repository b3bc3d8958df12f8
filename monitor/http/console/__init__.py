"""The console: pages for people over what the API answers. Jinja2 and the pages are loaded at the first page."""
