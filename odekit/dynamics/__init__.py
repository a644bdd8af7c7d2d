"""What the equations of any system do near a state: fixed points, rates, directions."""
