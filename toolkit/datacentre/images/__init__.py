"""Images: received into the spool, packed into store and archive, found by the index."""
