"""The page of a run: what it reached, why it fails, how it was made, and images of both."""
