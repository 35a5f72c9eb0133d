"""Of encoders, rollouts and drives."""
