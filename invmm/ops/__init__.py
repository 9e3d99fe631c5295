"""What people see: the live view."""
