"""What settlement says of a market (C level only)."""
