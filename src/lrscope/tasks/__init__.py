"""Tasks: data sets, models, losses."""
