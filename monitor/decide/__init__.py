"""Decisions: actions against findings, from facts, history, policies and the time.

Everything here is pure and takes `now` as an argument, except `loop`, which knows the clock and the event loop.
`gather` makes a `Situation` of the facts, `engine` makes `Decision`s of it, `table` keeps those of all subjects.
"""
