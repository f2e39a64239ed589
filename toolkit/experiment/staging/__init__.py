"""Trees of files brought to machines far away and back, over SFTP; see sftp-stage(1)."""
