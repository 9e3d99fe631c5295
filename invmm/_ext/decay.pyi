"""How fills become rarer with the distance from fair value (C level only)."""
