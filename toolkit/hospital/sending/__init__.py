"""Sending visits to the data centre: the client, the run over documents and queue, its status, and documents out of SQL."""
