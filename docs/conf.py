"""How Sphinx builds the documentation (`make docs`)."""

project = "certvigil"
extensions = ["myst_parser"]
exclude_patterns = ["generate", "__pycache__"]
html_theme = "furo"
html_title = "certvigil"
html_show_copyright = False
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4
# `console` blocks hold what a terminal shows, which is no language of its own.
highlight_language = "text"
