"""Open Images as it is published: the only room that knows the names and formats of a release."""
