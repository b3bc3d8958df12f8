"""Looking: at files, at the sets of components, at endpoints, and on demand; its findings go to `state`."""
