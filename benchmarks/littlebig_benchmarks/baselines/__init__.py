"""What the gate is compared with: the textbook BLS model, and a cascade in one process without any server."""
