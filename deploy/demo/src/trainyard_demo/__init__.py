"""The story of the loop, told on a year of real flights."""
