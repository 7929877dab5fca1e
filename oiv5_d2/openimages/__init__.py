"""Open Images V5 as it is published: the only room that knows the release's names and formats."""
