"""Sockets to frames: connect, subscribe, keep alive, reconnect."""
