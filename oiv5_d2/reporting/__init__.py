"""From data and run directories to what people look at: pictures, curves, tables, records."""
