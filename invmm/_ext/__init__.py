"""The compiled core: pure, allocation-free after start, no clock, socket, thread or logger."""
