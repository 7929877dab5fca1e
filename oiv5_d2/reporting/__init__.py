"""From data and run directories to what people look at: images, curves, tables, records."""
