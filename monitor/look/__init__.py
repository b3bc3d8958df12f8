"""Looking: at files, at the sets of components, at endpoints, and on demand; what a look finds goes to `state`."""
