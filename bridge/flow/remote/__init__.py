"""Commands from afar: checked at the door, carried out once, answered."""
