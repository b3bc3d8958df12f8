"""Telling people: what is wrong becomes problems, problems become messages, messages wait until they are delivered."""
