"""Policies: from books and inventory to wanted orders."""
