"""How good the labels are, what they can teach at best, and which to ask for next."""
