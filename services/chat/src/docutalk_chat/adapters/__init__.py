"""What chat reaches outside of itself: its tables, other services, models, the stream of token frames."""
