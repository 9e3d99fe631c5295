"""The embedded venue and the generated market."""
