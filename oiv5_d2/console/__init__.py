"""What the tools share on the screen. Used by tools only."""
