"""What an adapter must pass before it is published."""
