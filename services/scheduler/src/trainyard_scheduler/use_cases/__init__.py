"""What the scheduler does, one module for each concern; collaborators come as contracts."""
