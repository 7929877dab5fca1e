"""Pages that can be mailed: one HTML file each, with its style, script, data and images inside."""
