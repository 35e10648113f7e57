"""What the commands print, and the same as JSON."""
