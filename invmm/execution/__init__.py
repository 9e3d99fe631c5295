"""Commands to the venue, results back: the executor thread and its connections."""
