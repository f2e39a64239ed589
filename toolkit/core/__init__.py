"""What every command shares; imports no family of commands."""
