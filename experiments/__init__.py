"""What the part scripts share and the assignment does not mention."""
