"""Training loops, the default trainer and predictor, and how a job starts."""
