"""What is to be done about what is wrong: pure decisions from facts, history, policies and the time."""
