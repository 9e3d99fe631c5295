"""How this build was made; nothing for C callers."""
