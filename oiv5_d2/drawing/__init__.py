"""Arrays in, arrays out: what pictures and sheets are drawn with."""
